"""Coding: pruned and shared weights as few bits, in a file of just that size.

Read `entropy` and `huffman` first, then `rans`, which spends fractions of a bit, and
`gaps`, which says where the nonzeros are. `coders` adds the tables that a code needs,
`tensors` chooses the smallest form, and an engineer calls what `files` has:

    account = save_compressed("model.mlc", model.state_dict())
    model.load_state_dict(load_compressed("model.mlc"))
"""

from mlopt_edu.coding.bits import pack_bits, unpack_bits
from mlopt_edu.coding.coders import (
    CODERS,
    Coder,
    Huffman,
    Rans,
    decode_symbols,
    encode_symbols,
)
from mlopt_edu.coding.entropy import entropy
from mlopt_edu.coding.files import (
    Account,
    TensorBytes,
    compressed_bytes,
    load_compressed,
    save_compressed,
)
from mlopt_edu.coding.gaps import (
    bucket_gaps,
    cap_gaps,
    gaps_of,
    places_of,
    unbucket_gaps,
    uncap_gaps,
)
from mlopt_edu.coding.huffman import (
    canonical_codes,
    huffman_decode,
    huffman_encode,
    huffman_lengths,
)
from mlopt_edu.coding.rans import rans_decode, rans_encode, scaled_frequencies
from mlopt_edu.coding.tensors import Coded, decode_tensor, encode_tensor

__all__ = [
    "CODERS",
    "Account",
    "Coded",
    "Coder",
    "Huffman",
    "Rans",
    "TensorBytes",
    "bucket_gaps",
    "canonical_codes",
    "cap_gaps",
    "compressed_bytes",
    "decode_symbols",
    "decode_tensor",
    "encode_symbols",
    "encode_tensor",
    "entropy",
    "gaps_of",
    "huffman_decode",
    "huffman_encode",
    "huffman_lengths",
    "load_compressed",
    "pack_bits",
    "places_of",
    "rans_decode",
    "rans_encode",
    "save_compressed",
    "scaled_frequencies",
    "unbucket_gaps",
    "uncap_gaps",
    "unpack_bits",
]
