"""How a group shares its partitions out."""

from collections.abc import Mapping, Sequence

from stream.records import Partition


def share_out(
    partitions: Sequence[Partition],
    members: Mapping[str, Sequence[str]],
    before: Mapping[Partition, str],
) -> dict[Partition, str]:
    """Shares each topic's partitions evenly among the members that read it; sticky.

    Args:
        partitions: What is to be shared, of topics that somebody reads.
        members: The topics each member reads.
        before: Who had what; a member keeps what it had while that is within its share.

    Returns:
        The member of each partition.
    """
    shared: dict[Partition, str] = {}
    for topic in {tp.topic for tp in partitions}:
        readers = sorted(member for member, topics in members.items() if topic in topics)
        places = sorted(tp for tp in partitions if tp.topic == topic)
        small, larger = divmod(len(places), len(readers))
        room = {member: small + (index < larger) for index, member in enumerate(readers)}
        homeless = []
        for tp in places:
            holder = before.get(tp, "")
            if room.get(holder, 0) > 0:
                shared[tp] = holder
                room[holder] -= 1
            else:
                homeless.append(tp)
        seats = [member for member in readers for _ in range(room[member])]
        shared.update(zip(homeless, seats, strict=True))
    return shared
