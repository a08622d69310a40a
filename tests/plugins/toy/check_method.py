"""The file of tests that the author of a method writes."""

from toy_method import Toy

from study.testing import MethodContract


class TestToy(MethodContract):
    method = Toy
    settings = Toy.smoke
