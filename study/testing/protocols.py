"""What every protocol promises, as a suite for pytest."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from study.core.device import Compute
from study.core.digests import set_digest
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.evaluation.baselines import random_real_sets
from study.evaluation.evaluator import Evaluator
from study.evaluation.full_data import FullData
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import ModelConfig
from study.protocols.base import EvaluateOptions, Findings, Protocol, Session, find_protocol
from study.sets.files import StoredSet, read_set, write_set
from study.sets.manifest import Manifest
from study.testing.tasks import OwnCache


class ProtocolContract(OwnCache):
    """A suite that a protocol passes; subclass it in a test file.

    Every test asks it of two random digits a class, with networks that are trained for a moment::

        from study.testing import ProtocolContract
        from toy_protocol import Toy

        class TestToy(ProtocolContract):
            protocol = Toy
    """

    protocol: type[Protocol]
    options: ClassVar[dict[str, Any]] = {}
    """Of :class:`~study.protocols.base.EvaluateOptions`, besides protocol, seeds and split."""

    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, tmp_path_factory: pytest.TempPathFactory) -> StoredSet:
        """Two random digits a class, written and read."""
        splits = load_splits("digits", DataConfig())
        folder = tmp_path_factory.mktemp("sets") / "digits"
        manifest = Manifest(name="digits-random-ipc2", dataset="digits", method="random")
        drawn = random_real_sets(splits.train, 2, 1, Generators(5))[0]
        write_set(folder, drawn, manifest, splits.preprocessing)
        return read_set(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def asked(cls, stored: StoredSet) -> tuple[Session, Findings]:
        """One session on validation, and what the protocol found in it."""
        session = cls.session(stored)
        return session, cls.protocol().measure(session)

    @pytest.fixture
    def findings(self, asked: tuple[Session, Findings]) -> Findings:
        """What the protocol found."""
        return asked[1]

    @classmethod
    def session(cls, stored: StoredSet, **options: Any) -> Session:
        """What the protocol works with."""
        splits = load_splits("digits", DataConfig())
        evaluator = Evaluator(
            splits.train, splits.validation, ModelConfig(width=8), EvaluationConfig(num_steps=5),
            splits.augmentation, Compute(torch.device("cpu")), Generators(0),
        )  # fmt: skip
        recipe = EvaluationConfig(num_epochs=1, batch_size=256, num_seeds=1)
        settings = {"num_seeds": 2, **cls.options, **options}
        return Session(
            reference="digits-random-ipc2",
            stored=stored,
            options=EvaluateOptions(protocol=cls.protocol.name, **settings),
            splits=splits,
            on_validation=evaluator,
            full_data=FullData(evaluator, {"fingerprint": splits.fingerprint}, recipe),
            purpose="a test of a protocol",
        )

    def test_is_registered_and_says_what_it_asks(self) -> None:
        """It is found by its name, and one line tells users of it."""
        assert find_protocol(self.protocol.name) is self.protocol
        assert self.protocol.about.strip()
        assert "\n" not in self.protocol.about

    def test_finds_finite_numbers_and_rows_alike(self, findings: Findings) -> None:
        """Metrics are finite, rows have the same keys, and chosen columns are among them."""
        assert findings.metrics
        assert all(math.isfinite(value) for value in findings.metrics.values())
        assert findings.rows
        keys = list(findings.rows[0])
        assert all(list(row) == keys for row in findings.rows)
        assert set(findings.columns) <= set(keys)
        assert all(set(total) <= {*keys, *(f"{key}_std" for key in keys)} for total in findings.totals)

    def test_is_plain_enough_for_json_and_draws_pictures(self, findings: Findings) -> None:
        """Everything but the pictures goes into JSON; pictures are figures by file name."""
        plain = [findings.metrics, findings.rows, findings.totals, findings.notes]
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        for name, figure in findings.figures.items():
            assert Path(name).suffix == ".png"
            assert figure.axes

    def test_repeats_to_the_bit_and_changes_nothing(self, stored: StoredSet, findings: Findings) -> None:
        """The same seeds give the same findings, measured times apart; set and global generator stay."""
        before, state = set_digest(stored.synthetic), torch.get_rng_state()
        again = self.protocol().measure(self.session(stored))
        assert _untimed(again.metrics) == _untimed(findings.metrics)
        assert [_untimed(row) for row in again.rows] == [_untimed(row) for row in findings.rows]
        assert set_digest(stored.synthetic) == before
        assert torch.equal(torch.get_rng_state(), state)

    def test_opens_the_test_set_once_or_refuses_it(
        self, stored: StoredSet, asked: tuple[Session, Findings]
    ) -> None:
        """On validation test stays sealed; on test it is opened for a reason, at most once."""
        assert list(asked[0].splits.test.reasons) == []
        session = self.session(stored, split="test")
        if self.protocol.only_validation:
            with pytest.raises(ConfigError, match="use --split validation"):
                self.protocol().check(session.options)
            return
        self.protocol().measure(session)
        opened = [reason for reason in session.splits.test.reasons if "votes" not in reason]
        assert opened in ([], ["a test of a protocol"])

    def test_refuses_options_it_would_ignore(self) -> None:
        """An option that belongs to another protocol is an error, not a word without effect."""
        samples: dict[str, Any] = {"pool": "none", "models": ("mlp",), "full_data": True, "against": "other"}
        for option, value in samples.items():
            options = dataclasses.replace(EvaluateOptions(protocol=self.protocol.name), **{option: value})
            if option in self.protocol.takes:
                self.protocol().check(options)
            else:
                with pytest.raises(ConfigError, match=f"protocol '{self.protocol.name}' takes none"):
                    self.protocol().check(options)


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "seconds" not in key}
