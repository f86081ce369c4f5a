"""Which of the sample photographs the tests mean."""

from __future__ import annotations

# Enough to score: none of the classes, several classes at once, a crowd region, and some of one size.
NINE = (STOP_SIGN, PIZZA, LIFEBOAT, RIDERS, ASTRONAUT, CAT, OFFICER, DOG, PARROT) = (
    *(122745, 160012, 204805, 214753),
    *(900001, 900002, 900004, 900005, 900006),
)
