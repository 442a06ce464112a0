"""The reference page of the ABI is the one that is generated, and names everything."""

from guest_sdk import abi, reference


def test_the_committed_page_is_the_generated_one() -> None:
    assert reference.PAGE.read_text() == reference.page()


def test_every_call_structure_and_error_is_named() -> None:
    page = reference.page()
    for name in [*abi.BY_NAME, *abi.STRUCT_BY_NAME, *abi.ERRNO, *abi.MAP_FLAGS, *abi.FEATURES]:
        assert name in page


def test_offsets_are_those_of_the_contract() -> None:
    offset = abi.STRUCT_BY_NAME["event_page"].offset("pending")
    assert f"| {offset} | 128 | `pending` |" in reference.structures()
