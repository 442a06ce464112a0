import pytest

from guest_sdk import abi
from hypercalls.feature import Feature


@pytest.mark.parametrize("bit", [32, 40, 62])
def test_a_bit_of_a_plugin_s_own(bit):
    assert (Feature("kvstore", bit).name, Feature("kvstore", bit).bit) == ("kvstore", bit)


@pytest.mark.parametrize("bit", [-1, 0, 31, 63, 64])
def test_bits_that_are_not_a_plugin_s(bit):
    with pytest.raises(ValueError, match=f"feature 'kvstore': bit {bit} is not a plugin's; use 32 to 62"):
        Feature("kvstore", bit)


@pytest.mark.parametrize("bit", ["40", 40.0, True, None])
def test_a_bit_is_a_number(bit):
    with pytest.raises(TypeError, match="is not a whole number"):
        Feature("kvstore", bit)


@pytest.mark.parametrize("name", ["", "KV", "a-b", "1a", 7, "a" * 64])
def test_names_that_no_header_can_hold(name):
    with pytest.raises(ValueError, match="feature name"):
        Feature(name, 40)


@pytest.mark.parametrize("name", abi.FEATURES)
def test_a_built_in_name_is_taken(name):
    with pytest.raises(ValueError, match=f"feature '{name}' is pvkit's own"):
        Feature(name, 40)
