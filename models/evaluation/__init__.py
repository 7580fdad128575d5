"""What a bundle is worth on labelled pictures: delivery tiers, figures with intervals, slices, and the report.

NumPy, Pillow and ONNX Runtime only; training imports from here and nothing here imports training.

The JSON's figures, each with its interval beside it as ``NAME_ci95`` and None where the pictures cannot give it:

* ``tiers.TIER`` and ``tiers.TIER.slices.DIMENSION.NAME``: ``auc`` (every source weighs the same within its class),
  ``auc_pooled``; ``accuracy``, the share that is right among the verdicts that decided, `uncertain` ones left out;
  ``abstained``, the share of `uncertain`; ``accuracy_forced`` and ``balanced_accuracy``, right at even odds (p = .5)
  over all pictures, and as the mean of both classes; ``fpr``, authentic pictures called `ai_generated`; ``fnr``,
  machine-made ones called `authentic`; ``called_ai``; ``ece``; ``n``, ``n_real`` and ``n_fake``. A tier's
  ``worst_source`` is the one that loses most of its authentic pictures to `ai_generated`.
* ``slices`` and ``ece`` are those of the clean tier.
* ``flip_rate``: the share of pictures whose verdict changes side, from `ai_generated` to `authentic` or back, in any
  of six re-encodings (`models.evaluation.transforms`). ``metamorphic`` says for each of them and for ``any``:
  ``reversed``, the same; ``changed``, to any other verdict, `uncertain` included; ``crossed``, the score crosses even
  odds whatever the verdict. All are of the clean tier. Where the tests were left out they are None and empty.
* ``failure_modes``: what authentic pictures are called after each simulated failure mode, and, by the name of the zip
  or folder, in every collection that holds no others, such as one of human-made art.
* ``real_vs_real``: how well the score tells sources of authentic pictures apart, which it should not: an AUC, .5 is not
  at all. ``real_vs_real_detail`` says what it would be by ``chance``.
"""
