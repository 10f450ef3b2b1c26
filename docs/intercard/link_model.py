#!/usr/bin/env python3
"""The inter-card link model of sailplan, for programs that are not written in Rust. Standard library only.

    from link_model import allreduce_us, effective_bandwidth, rtt_us
    effective_bandwidth()                 # payload bytes per second in one direction
    effective_bandwidth(coding="64b/66b")
    rtt_us(64)                            # packet there and back between neighbours, at the MAC
    allreduce_us(1, 4, "mesh")            # µs for 1 MiB over 4 cards

Everything is computed in integers, as in `ir/src/frame.rs` and `cost-model/src/links.rs`; the tests of cost-model hold
the two equal. What each figure means and where it comes from stands in link-model.md.

    python3 link_model.py                 # the all-reduce table as CSV
    python3 link_model.py --svg NAME      # one plot on stdout: coding, errors, allreduce
    python3 link_model.py --write         # link-model.csv, the plots and the tables of link-model.md, beside this file
"""
import math
import pathlib
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Optional, Tuple

ONE = 10**18  # shares and probabilities are integers in units of 1e-18
SECOND = 10**12  # times are integers in picoseconds
CODINGS = {"8b/10b": (8, 10), "64b/66b": (64, 66), "native": (1, 1)}
TOPOLOGIES = ("mesh", "ring", "line", "star")
# In the order in which ties are broken; `schedule` knows more.
ALGORITHMS = ("ring", "direct", "one-shot", "recursive-doubling", "halving-doubling", "tree")
SIZES = (1 << 10, 1 << 14, 1 << 20, 1 << 24, 1 << 26)
CARDS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Link:
    """InnerJib7EA rev-A by default; sources in link-model.md and in cost-model/fleets/innerjib7ea-x4-ring.ron."""

    lanes: int = 4
    line_rate: int = 1_250_000_000  # bits per second on the line of one lane
    coding: str = "8b/10b"
    width: int = 32  # bits a lane takes from the bus in one beat
    payload: int = 64  # bytes of a full frame
    header: int = 12
    crc: int = 4
    training: int = 12 * 10**14  # 0.12 %
    bit_errors: int = 10**6  # 1e-12
    replay: str = "go-back"  # or "selective"
    pipeline: int = 41  # beats from MAC to MAC
    wake: int = 0  # ps
    latency: int = 5_000_000  # ps, one message
    junction: int = 60  # °C
    limit: Optional[int] = 85  # °C
    factor: int = ONE // 2  # of the rate that is left above the limit
    switch_rate: int = 100_000_000  # a star's spokes: Gigabit Ethernet, bytes per second
    switch_latency: int = 50_000_000  # ps a hop


REV_A = Link()


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def power(share: int, count: int) -> int:
    """share ** count for shares, by squaring, rounded down."""
    result, square = ONE, share
    while count:
        if count & 1:
            result = square * result // ONE
        square = square * square // ONE
        count >>= 1
    return result


def beats(count: int, link: Link) -> int:
    """Time of bus beats in ps."""
    payload_bits, line_bits = CODINGS[link.coding]
    return ceil_div(count * link.width * line_bits * SECOND, payload_bits * link.line_rate)


def frame_errors(link: Link) -> int:
    payload_bits, line_bits = CODINGS[link.coding]
    bits = ceil_div((link.payload + link.header + link.crc) * 8 * line_bits, payload_bits)
    return ONE - power(ONE - link.bit_errors, bits)


def derivation(link: Link = REV_A) -> "list[Tuple[str, int]]":
    """From line rate (bits per second) to effective payload rate (bytes per second); each figure includes those above."""
    payload_bits, line_bits = CODINGS[link.coding]
    line = link.lanes * link.line_rate
    coded = line * payload_bits // (line_bits * 8)
    framed = coded * link.payload // (link.payload + link.header)
    checked = coded * link.payload // (link.payload + link.header + link.crc)
    trained = checked * (ONE - link.training) // ONE
    hot = link.limit is not None and link.junction > link.limit
    cooled = trained * link.factor // ONE if hot else trained
    wrong, lost = frame_errors(link), 0
    if link.replay == "go-back":
        lost = ceil_div(ceil_div(cooled * wrong, link.payload) * 2 * beats(link.pipeline, link), SECOND)
    effective = cooled * (ONE - wrong) // (ONE + lost)
    return [("line", line), ("coding", coded), ("header", framed), ("CRC", checked), ("training", trained),
            ("heat", cooled), ("replays", effective)]


def effective_bandwidth(link: Link = REV_A, coding: Optional[str] = None) -> int:
    """Sustained payload bytes per second in one direction."""
    return derivation(replace(link, coding=coding) if coding else link)[-1][1]


def message_latency(link: Link = REV_A) -> int:
    """Fixed time of one message in ps."""
    return max(link.latency, beats(link.pipeline, link)) + link.wake


def rtt_us(size: int = 64, link: Link = REV_A) -> float:
    """A packet of `size` bytes there and back between neighbours, at the MAC, in µs."""
    packet = size + ceil_div(size, link.payload) * (link.header + link.crc)
    one_way = ceil_div(packet * 8, link.lanes * link.width) + link.pipeline
    return beats(2 * one_way, link) / 10**6


def saturation(link: Link = REV_A) -> dict:
    """Rates at the peak, as priced and backed off, and the bit error rates at which 99 % and half of the peak are held."""
    cool = replace(link, limit=None)
    peak = effective_bandwidth(replace(cool, bit_errors=0))

    def most(percent: int) -> int:
        held, lost = 0, ONE
        while lost - held > 1:
            middle = held + (lost - held) // 2
            if effective_bandwidth(replace(cool, bit_errors=middle)) * 100 >= peak * percent:
                held = middle
            else:
                lost = middle
        return held

    backed_off = effective_bandwidth(link if link.limit is None else replace(link, junction=link.limit + 1))
    return {"peak": peak, "sustained": effective_bandwidth(link), "backed_off": backed_off,
            "bit_errors_at_99_percent": most(99), "bit_errors_at_half": most(50)}


# Collectives: steps of messages (from, to, chunks of the buffer), priced by counting bytes on every wire.


def schedule(algorithm: str, k: int) -> list:
    """All-reduce over k ranks: (count, step) pairs."""
    if k < 2:
        return []
    around = [(rank, (rank + 1) % k, 1) for rank in range(k)]
    everyone = [(a, b) for a in range(k) for b in range(k) if a != b]
    if algorithm == "ring":
        return [(2 * (k - 1), around)]
    if algorithm == "direct":
        return [(2, [(a, b, 1) for a, b in everyone])]
    if algorithm == "one-shot":
        return [(1, [(a, b, k) for a, b in everyone])]
    if algorithm == "tree":
        up = [[(to + (1 << bit), to, k) for to in range(0, k, 2 << bit) if to + (1 << bit) < k]
              for bit in range((k - 1).bit_length())]
        return [(1, step) for step in up] + [(1, [(b, a, n) for a, b, n in step]) for step in reversed(up)]
    return [(1, step) for step in paired(algorithm, k)]


def paired(algorithm: str, k: int) -> list:
    """Recursive doubling and halving-doubling: a core of 2^b ranks, the others hand their buffers over and get the sum."""
    bits = k.bit_length() - 1
    members, extra = 1 << bits, k - (1 << bits)
    rank = [2 * member if member < extra else member + extra for member in range(members)] + [k]

    def window(member: int, depth: int) -> int:
        """Chunks left to a member when the buffer is halved by the bits 0, 1, … below `depth` of its number."""
        start, length = 0, members
        for bit in range(depth):
            length //= 2
            start += (member >> bit & 1) * length
        return rank[start + length] - rank[start]

    def step(bit: int, chunks) -> list:
        return [(rank[member], rank[member ^ 1 << bit], chunks(member, member ^ 1 << bit)) for member in range(members)]

    if algorithm == "recursive-doubling":
        steps = [step(bit, lambda a, b: k) for bit in range(bits)]
    elif algorithm == "halving-doubling":
        halving = [step(bit, lambda a, b, bit=bit: window(b, bit + 1)) for bit in range(bits)]
        doubling = [step(bit, lambda a, b, bit=bit: window(a, bit + 1)) for bit in reversed(range(bits))]
        steps = halving + doubling
    else:
        raise ValueError(f"no such algorithm: {algorithm}")
    before = [[(2 * i + 1, 2 * i, k) for i in range(extra)]] if extra else []
    after = [[(2 * i, 2 * i + 1, k) for i in range(extra)]] if extra else []
    return before + steps + after


@lru_cache(maxsize=None)
def routes(topology: str, k: int) -> Tuple[list, list]:
    """Wires (from, to), and next[to][at]: the first wire of a path with the fewest hops; among equals one that arrives in
    the direction of its link, then the lowest."""
    edges = {"mesh": [(a, b) for a in range(k) for b in range(a + 1, k)],
             "ring": [(a, (a + 1) % k) for a in range(k if k > 2 else k - 1)],
             "line": [(a, a + 1) for a in range(k - 1)],
             "star": [(a, k) for a in range(k)]}[topology]
    wires = [wire for a, b in edges for wire in ((a, b), (b, a))]
    vertices = k + (topology == "star")
    arriving = [[] for _ in range(vertices)]
    for index, (_, to) in enumerate(wires):
        arriving[to].append(index)
    for indices in arriving:
        indices.sort(key=lambda index: (index % 2, index))
    following = []
    for to in range(vertices):
        first, queue = [None] * vertices, [to]
        for here in queue:
            for index in arriving[here]:
                origin = wires[index][0]
                if origin != to and first[origin] is None:
                    first[origin] = index
                    queue.append(origin)
        following.append(first)
    return wires, following


@lru_cache(maxsize=None)
def profile(algorithm: str, topology: str, k: int) -> list:
    """For every step: count, hops of the longest path, and the set of (chunks, whole buffers) that wires carry."""
    wires, following = routes(topology, k)
    made = []
    for count, step in schedule(algorithm, k):
        hops, loads = 0, {}
        for origin, to, chunks in step:
            at, length = origin, 0
            while at != to:
                wire = following[to][at]
                parts, wholes = loads.get(wire, (0, 0))
                loads[wire] = (parts, wholes + 1) if chunks == k else (parts + chunks, wholes)
                at, length = wires[wire][1], length + 1
            hops = max(hops, length)
        made.append((count, hops, frozenset(loads.values())))
    return made


def allreduce(size: int, k: int, topology: str, link: Link = REV_A) -> Tuple[str, int]:
    """Cheapest algorithm for `size` bytes on each of k cards, and its time in ps."""
    if topology not in TOPOLOGIES:
        raise ValueError(f"topology must be one of {', '.join(TOPOLOGIES)}")
    star = topology == "star"
    rate = link.switch_rate if star else effective_bandwidth(link)
    alpha = link.switch_latency if star else message_latency(link)
    chunk = ceil_div(size, k)
    best = None
    for algorithm in ALGORITHMS:
        time = 0
        for count, hops, loads in profile(algorithm, topology, k):
            most = max(parts * chunk + wholes * size for parts, wholes in loads)
            time += count * (hops * alpha + ceil_div(most * SECOND, rate))
        if best is None or time < best[1]:
            best = (algorithm, time)
    return best


def allreduce_us(n_mib: float, k: int, topology: str = "mesh", link: Link = REV_A) -> float:
    """µs of an all-reduce of `n_mib` MiB over k cards; 0 for one card."""
    return allreduce(math.ceil(n_mib * (1 << 20)), k, topology, link)[1] / 10**6 if k > 1 else 0.0


def decimal(value: int, unit: int) -> str:
    """value / unit with all its digits."""
    text, rest = str(value // unit), value % unit
    text += "." if rest else ""
    while rest:
        text += str(rest * 10 // unit)
        rest = rest * 10 % unit
    return text


def csv(link: Link = REV_A) -> str:
    lines = ["mib,cards,topology,algorithm,us"]
    for topology in TOPOLOGIES:
        for size in SIZES:
            for k in CARDS:
                algorithm, time = allreduce(size, k, topology, link)
                lines.append(f"{decimal(size, 1 << 20)},{k},{topology},{algorithm},{decimal(time, 10**6)}")
    return "\n".join(lines) + "\n"


def tables(link: Link = REV_A) -> str:
    """The all-reduce tables of link-model.md: whole µs, rounded up."""
    text = ""
    for topology in TOPOLOGIES:
        text += f"\n**{topology}**\n\n| N \\ K |" + "".join(f" {k} |" for k in CARDS) + "\n|---|" + "---|" * len(CARDS) + "\n"
        for size in SIZES:
            name = f"{size >> 20} MiB" if size >> 20 else f"1/{(1 << 20) // size} MiB"
            cells = (allreduce(size, k, topology, link) for k in CARDS)
            text += f"| {name} |" + "".join(f" {ceil_div(time, 10**6)} {algorithm} |" for algorithm, time in cells) + "\n"
    return text


# Plots


class Plot:
    """A chart with logarithmic or linear axes as SVG."""

    left, right, top, bottom, wide, high = 72, 190, 44, 52, 760, 400
    colours = ("#1b6ca8", "#c4501b", "#3a7d34", "#7a4b94")

    def __init__(self, title: str, x: tuple, y: tuple, names: tuple):
        """x and y: (low, high, logarithmic, ticks [(value, text)])."""
        self.x, self.y = x, y
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.wide} {self.high}" width="{self.wide}" '
            f'height="{self.high}" font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{self.wide}" height="{self.high}" fill="#fff"/>',
            f'<text x="{self.left}" y="24" font-size="15" font-weight="bold">{title}</text>',
        ]
        low, end = self.high - self.bottom, self.wide - self.right
        for value, text in x[3]:
            at = self.across(value)
            self.parts.append(f'<path d="M{at:.1f} {self.top}V{low}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{at:.1f}" y="{low + 18}" text-anchor="middle">{text}</text>')
        for value, text in y[3]:
            at = self.up(value)
            self.parts.append(f'<path d="M{self.left} {at:.1f}H{end}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{self.left - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
        self.parts.append(f'<path d="M{self.left} {self.top}V{low}H{end}" fill="none" stroke="#222"/>')
        middle = (self.left + end) / 2
        self.parts.append(f'<text x="{middle:.1f}" y="{self.high - 12}" text-anchor="middle">{names[0]}</text>')
        middle = (self.top + low) / 2
        self.parts.append(f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle">{names[1]}</text>')

    @staticmethod
    def place(value: float, axis: tuple) -> float:
        low, high, logarithmic, _ = axis
        if logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return (value - low) / (high - low)

    def across(self, value: float) -> float:
        return self.left + self.place(value, self.x) * (self.wide - self.left - self.right)

    def up(self, value: float) -> float:
        return self.high - self.bottom - self.place(value, self.y) * (self.high - self.top - self.bottom)

    def line(self, index: int, name: str, points: list, dash: str = "") -> None:
        colour = self.colours[index % len(self.colours)]
        path = " ".join(f"{self.across(x):.1f},{self.up(y):.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>')
        y = self.top + 10 + 20 * index
        x = self.wide - self.right + 12
        self.parts.append(f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="2"{dashed}/>')
        self.parts.append(f'<text x="{x + 28}" y="{y}">{name}</text>')

    def bar(self, x: float, width: float, y: float, colour: int, text: str) -> None:
        left, top = self.across(x), self.up(y)
        size = self.across(x + width) - left
        self.parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{size:.1f}" '
                          f'height="{self.high - self.bottom - top:.1f}" fill="{self.colours[colour]}"/>')
        self.parts.append(f'<text x="{left + size / 2:.1f}" y="{top - 4:.1f}" font-size="10" text-anchor="middle">{text}</text>')

    def key(self, index: int, name: str) -> None:
        x, y = self.wide - self.right + 12, self.top + 10 + 20 * index
        self.parts.append(f'<rect x="{x}" y="{y - 10}" width="14" height="11" fill="{self.colours[index]}"/>')
        self.parts.append(f'<text x="{x + 20}" y="{y}">{name}</text>')

    def text(self) -> str:
        return "\n".join(self.parts) + "\n</svg>\n"


def coding_plot() -> str:
    links = [("1.25 Gb/s, 8b/10b", REV_A), ("1.25 Gb/s, 64b/66b", replace(REV_A, coding="64b/66b")),
             ("3.125 Gb/s, 8b/10b", replace(REV_A, line_rate=3_125_000_000))]
    names = [name for name, _ in derivation()]
    plot = Plot("What is left of the line rate, 4 lanes, one direction", (0, len(names), False,
                [(index + 0.5, name) for index, name in enumerate(names)]),
                (0, 1700, False, [(y, str(y)) for y in range(0, 1601, 200)]), ("after", "MB/s"))
    for series, (name, link) in enumerate(links):
        plot.key(series, name)
        for index, (step, rate) in enumerate(derivation(link)):
            megabytes = rate / (8e6 if step == "line" else 1e6)
            plot.bar(index + 0.08 + 0.28 * series, 0.27, megabytes, series, f"{megabytes:.0f}")
    return plot.text()


def errors_plot() -> str:
    ticks = [(10.0**e, f"1e{e}") for e in range(-12, -1)]
    plot = Plot("Payload rate under bit errors", (1e-12, 1e-2, True, ticks),
                (0, 500, False, [(y, str(y)) for y in range(0, 501, 100)]), ("chance that a line bit is wrong", "MB/s"))
    cool = replace(REV_A, limit=None)
    hot = replace(REV_A, junction=86)
    for index, (name, link) in enumerate([("go-back", cool), ("selective", replace(cool, replay="selective")),
                                          ("go-back, 64b/66b", replace(cool, coding="64b/66b")), ("go-back, above 85 °C", hot)]):
        rates = [(10 ** (e / 10), replace(link, bit_errors=int(10 ** (18 + e / 10)))) for e in range(-120, -19)]
        plot.line(index, name, [(x, effective_bandwidth(link) / 1e6) for x, link in rates])
    return plot.text()


def allreduce_plot() -> str:
    plot = Plot("All-reduce over 8 cards, cheapest algorithm", (1 << 10, 1 << 26, True,
                [(1 << e, f"{1 << e - 10} KiB" if e < 20 else f"{1 << e - 20} MiB") for e in range(10, 27, 4)]),
                (1, 1e7, True, [(10**e, text) for e, text in
                 enumerate(["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"])]),
                ("bytes in each card’s buffer", "time"))
    for index, topology in enumerate(TOPOLOGIES):
        sizes = [1 << e for e in range(10, 27)]
        name = topology + (" (host’s Ethernet)" if topology == "star" else "")
        plot.line(index, name, [(size, allreduce(size, 8, topology)[1] / 1e6) for size in sizes])
    return plot.text()


PLOTS = {"coding": coding_plot, "errors": errors_plot, "allreduce": allreduce_plot}
BEGIN, END = "<!-- tables: written by link_model.py --write -->\n", "<!-- end of tables -->\n"


def write(folder: pathlib.Path) -> None:
    (folder / "link-model.csv").write_text(csv(), encoding="utf-8")
    for name, plot in PLOTS.items():
        (folder / f"link-{name}.svg").write_text(plot(), encoding="utf-8")
    document = folder / "link-model.md"
    before, rest = document.read_text(encoding="utf-8").split(BEGIN)
    document.write_text(before + BEGIN + tables() + "\n" + END + rest.split(END)[1], encoding="utf-8")


def main(arguments: list) -> int:
    if not arguments:
        text = csv()
    elif arguments == ["--write"]:
        write(pathlib.Path(__file__).resolve().parent)
        return 0
    elif len(arguments) == 2 and arguments[0] == "--svg" and arguments[1] in PLOTS:
        text = PLOTS[arguments[1]]()
    else:
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(text.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
