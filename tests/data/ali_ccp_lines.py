"""Lines of Ali-CCP, good ones and one of each kind of damage."""

from ali_ccp_pair import raw_line

from dtn_jax.datasets.ali_ccp import text as ali_ccp_text
from dtn_jax.datasets.preparation import text_lines

GOOD = raw_line(["7", "1", "0", "nowhere"], [("205", 5, 1.0), ("206", 6, 1.0)]).encode()
TEXT = ali_ccp_text
SKELETON_DAMAGE = {  # reason: a line with it
    TEXT.COLUMNS[TEXT.SKELETON]: b"1,0,0,abc",
    TEXT.EMPTY["sample_id"]: GOOD[1:],
    TEXT.SAMPLE: GOOD.replace(b"7,1", b"7a,1"),
    TEXT.LABEL["click"]: GOOD.replace(b"7,1,", b"7,2,"),
    TEXT.LABEL["conversion"]: GOOD.replace(b"7,1,0", b"7,1,no"),
    TEXT.COUNT: GOOD.replace(b",2,", b",two,"),
    TEXT.MISCOUNT: GOOD.replace(b",2,", b",3,"),
    TEXT.PARTS: GOOD.replace(b"206\x026\x031.0", b"206\x026"),
    TEXT.ID: GOOD.replace(b"\x026\x03", b"\x026x\x03"),
    TEXT.VALUE: GOOD.replace(b"\x026\x031.0", b"\x026\x03nan"),
    text_lines.ENCODING: GOOD.replace(b"7,1", b"\xff7,1"),
}
