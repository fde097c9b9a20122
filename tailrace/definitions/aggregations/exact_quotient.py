"""Means and variances of exact sums, rounded once: SQL for the full computation, for refreshes and for whoever finishes later.

Spark's decimals have 38 digits, and `n·Σx² - (Σx)²` has more. The numbers are formed in limbs of 12 or 18 digits, divided as
on paper, and read as a double from their digits, which rounds correctly. Doubles all the way would give 0.0 for a variance of
0.25 of numbers near 10^9.
"""

from collections.abc import Mapping, Sequence

WHOLE = "decimal(38,0)"
MICRO = 1_000_000  # sums are of numbers with six decimals
LIMB = 10**12
# So many numbers of up to 10^9 keep every product below within 38 digits.
MOST_NUMBERS = 10**9


def mean_of(count: str, total: str) -> str:
    """SQL for the mean of numbers below 10^18: a double, null where there are none."""
    first = {"n": count, "whole": f"floor(abs({total}))", "rest": f"(abs({total}) % 1) * {10**18}"}
    limbs = f"array(it.whole, it.rest, {whole('0')})"
    quotient = with_steps([first], quotient_of(limbs, "it.n", width=18, decimals=36))
    return f"CASE WHEN {count} > 0 THEN IF({total} < 0, -1, 1) * {quotient} END"


def variance_of(count: str, total: str, squares: str, rest_of_squares: str) -> str:
    """SQL for the population's variance of up to `MOST_NUMBERS` numbers, a double; null where there are none.

    `total` is of numbers up to 10^9 with six decimals. `squares` adds up the whole part of each square, `rest_of_squares`
    its fraction in millionths.
    """
    steps = (
        {"n": count, "a": f"abs({total}) * {MICRO}", "h": squares, "l": f"{rest_of_squares} * {MICRO}"},
        {
            "n": "it.n",
            "a1": f"it.a div {LIMB}",
            "a0": f"it.a % {LIMB}",
            "h": f"it.h + it.l div {LIMB}",
            "l": f"it.l % {LIMB}",
        },
        # n·Σx² - (Σx)² in limbs, of which the lower ones may be of any size and below 0 ...
        {
            "n": "it.n",
            "d2": "- it.a1 * it.a1",
            "d1": "it.n * it.h - 2 * it.a1 * it.a0",
            "d0": "it.n * it.l - it.a0 * it.a0",
        },
        # ... until what is too much or too little in one is carried to the next.
        {"n": "it.n", "d2": "it.d2", "d1": f"it.d1 + {carried('it.d0')}", "d0": f"pmod(it.d0, {LIMB})"},
        {"n": "it.n", "d2": f"it.d2 + {carried('it.d1')}", "d1": f"pmod(it.d1, {LIMB})", "d0": "it.d0"},
    )
    zero = whole("0")
    limbs = f"array(it.d2, it.d1, it.d0, {zero}, {zero}, {zero})"
    quotient = with_steps(steps, quotient_of(limbs, "it.n * it.n", width=12, decimals=36 + 12))
    return f"CASE WHEN {count} BETWEEN 1 AND {MOST_NUMBERS} THEN {quotient} END"


def carried(limb: str) -> str:
    """What a limb has beyond its 12 digits, in the next one."""
    return whole(f"({limb} - pmod({limb}, {LIMB})) / {LIMB}")


def whole(number: str) -> str:
    """A number as a decimal without a fraction."""
    return f"CAST({number} AS {WHOLE})"


def with_steps(steps: Sequence[Mapping[str, str]], result: str) -> str:
    """A result of the last of some steps, each of which has whole numbers made of those of the step before, `it`."""
    found = ""
    for step in steps:
        numbers = "named_struct(" + ", ".join(f"'{name}', {whole(number)}" for name, number in step.items()) + ")"
        found = f"transform({found}, it -> {numbers})" if found else f"array({numbers})"
    return f"transform({found}, it -> {result})[0]"


def quotient_of(limbs: str, divisor: str, *, width: int, decimals: int) -> str:
    """Divide a number in limbs of `width` digits, the first the highest, of which the last `decimals` digits are a fraction.

    A remainder becomes one more digit: the double is then that of the whole quotient.
    """
    dividend = f"(done.rest * {10**width} + limb)"
    digits = f"lpad(CAST({dividend} div ({divisor}) AS string), {width}, '0')"
    begin = f"named_struct('rest', {whole('0')}, 'digits', '')"
    divided = f"named_struct('rest', {whole(f'{dividend} % ({divisor})')}, 'digits', concat(done.digits, {digits}))"
    as_double = f"CAST(concat(done.digits, IF(done.rest > 0, '1', '0'), 'e-{decimals + 1}') AS double)"
    return f"aggregate({limbs}, {begin}, (done, limb) -> {divided}, done -> {as_double})"
