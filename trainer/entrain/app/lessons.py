"""Which lessons of environment parameters an evaluation plays: those reached, or others by name."""

from collections.abc import Iterable, Mapping

from entrain.config.environment_parameters import CurriculumConfig, curricula
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.quoting import listed
from entrain.rollout.curricula import reached_lessons
from entrain.run.checkpoint import Loaded


def lessons_to_play(config: RunConfig, restored: Loaded, asked: Iterable[str]) -> Mapping[str, int]:
    """Returns {parameter: index of its lesson, from 0}.

    Args:
        config: of the run.
        restored: its checkpoint, which says how far curricula came.
        asked: PARAMETER=LESSON for those that are to be in another lesson.

    Raises:
        ConfigError: there is no such parameter or lesson.
    """
    there = curricula(config.environment_parameters)
    reached = reached_lessons(restored.state.get("curricula", {}))
    # The settings may have been given fewer lessons since.
    lessons = {
        name: min(reached.get(name, it.completed), len(it.lessons) - 1)
        for name, it in there.items()
    }
    for text in asked:
        name, equals, lesson = text.rpartition("=")
        if not equals or name not in there:
            of_which = f"it has: {listed(list(there))}" if there else "it has none"
            raise ConfigError(
                f"--lesson {text}: write it as PARAMETER=LESSON, with an environment parameter of "
                f"the run that has a curriculum ({of_which})"
            )
        lessons[name] = _index(there[name], lesson, text)
    return lessons


def _index(curriculum: CurriculumConfig, lesson: str, text: str) -> int:
    names = [each.name for each in curriculum.lessons]
    if names.count(lesson) == 1:
        return names.index(lesson)
    if lesson.isdecimal() and 1 <= int(lesson) <= len(names):
        return int(lesson) - 1
    words = f"several lessons are called '{lesson}'" if lesson in names else "there is no such one"
    raise ConfigError(
        f"--lesson {text}: {words}; give one of {listed(names)}, or a number from 1 to {len(names)}"
    )
