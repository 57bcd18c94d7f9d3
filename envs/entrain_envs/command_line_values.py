"""Reads the values of `entrain-env`'s options; what cannot be is told in words."""

import argparse
import json
import math
import os
import re
from typing import Any

from entrain_envs.observation_kinds import KINDS


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def copies(text: str) -> int:
    most = os.environ.get("ENTRAIN_MAX_COUNT")
    return min(positive(text), positive(most)) if most else positive(text)


def speed(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and 10,000")
    return number


def name_and_kind(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    if not name or kind not in KINDS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no NAME=KIND with a kind of {', '.join(KINDS)}, such as camera=image"
        )
    return name, kind


def indices(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(index) for index in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of indices, such as 0,2") from None


def subtraction(text: str) -> tuple[str, int | None, float]:
    match = re.fullmatch(r"(.+?)(?:\[(\d+)\])?=([^=]+)", text)
    try:
        if match is None or not math.isfinite(float(match[3])):
            raise ValueError
        return match[1], None if match[2] is None else int(match[2]), float(match[3])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no NAME=NUMBER or NAME[INDEX]=NUMBER, such as observation[0]=1.7e9"
        ) from None


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text} is no JSON object; write {{"name": value}}')
    return value
