"""What a result tells beside its metrics: how subjects are judged, and which lesions are found."""

from upd_zoo.artefact.record import Fraction, Record


class Stratum(Record):
    """Diseased images whose lesions are alike in one respect, against all healthy images.

    Attributes:
        by: `lesion pixels` or `lesion contrast` (mean of the lesion minus mean of the other foreground).
        low: Its least value among them.
        high: Its greatest.
        images: How many they are.
        auroc: Of their scores against those of the healthy images.
    """

    by: str
    low: float
    high: float
    images: int
    auroc: Fraction | None


class Alarms(Record):
    """Healthy subjects of a group, and how many of them score above the model's threshold."""

    healthy: int
    alarmed: int


class SubjectLevel(Record):
    """How whole subjects are judged, by the rule and the thresholds that the model brings.

    Attributes:
        ap: Average precision of the scores of subjects.
        auroc: Area under their ROC curve.
        aimed_at: Share of healthy subjects that the threshold should let score above it.
        alarms: What came of it, by group: `all`, and by sex, age, view and site where they are known.
        dice: Mean over diseased subjects of the Dice of all their images at the threshold of map values.
        called: Median over healthy subjects of the share of their pixels at or above that threshold.
    """

    subjects: int
    anomalous: int
    ap: Fraction | None
    auroc: Fraction | None
    aimed_at: Fraction
    alarms: dict[str, Alarms]
    dice: Fraction | None
    called: Fraction | None
