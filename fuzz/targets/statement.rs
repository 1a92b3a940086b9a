//! The statement scanner, and the KILL that it recognises.
//!
//! Input: a byte of flags, then a statement. What must hold: no panic; at most as many tokens as bytes,
//! found in order and without overlap; comments before a statement and the case of its letters change
//! nothing; a KILL that is aimed at another connection names that one, in as many bytes.

use tandem::session::inspect::{aim_kill, classify, tokens};

use super::input::Input;

/// A text is also read so often in a row that reading it in more than linear time shows: the fuzzer
/// reports inputs that take seconds.
const LONG: usize = 1 << 13;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let escapes = flags & 1 != 0;
    let sql = input.0;
    let said = classify(sql, escapes);

    let (count, texts) = tokens(sql, escapes);
    assert!(count <= sql.len());
    let mut at = sql.as_ptr() as usize;
    for text in texts {
        let start = text.as_ptr() as usize;
        assert!(at <= start && !text.is_empty(), "out of order");
        at = start + text.len();
    }
    assert!(at <= sql.as_ptr() as usize + sql.len(), "beyond the end");

    for before in [&b"/* a ' comment */"[..], b"-- a \" comment\n", b"# a ` comment\n", b" \t\r\n"]
    {
        let commented = [before, sql].concat();
        assert_eq!(classify(&commented, escapes), said, "behind {before:?}");
    }
    // `/*M!` is a comment in small letters.
    let conditional = |window: &[u8]| window.eq_ignore_ascii_case(b"*M!");
    if !sql.windows(3).any(conditional) {
        assert_eq!(classify(&sql.to_ascii_uppercase(), escapes), said, "in capitals");
        assert_eq!(classify(&sql.to_ascii_lowercase(), escapes), said, "in small letters");
    }
    if said.is_several() {
        assert!(!said.is_repeatable() && !said.is_refused_whole() && !said.is_plain());
    }
    kill(&[b"\x03", sql].concat(), escapes);
    kill(&[b"\x0c", sql].concat(), escapes);
    if flags & 2 != 0 && !sql.is_empty() && sql.len() < 256 {
        let _ = classify(&sql.repeat(LONG / sql.len()), escapes);
    }
}

fn kill(payload: &[u8], escapes: bool) {
    const OTHER: u32 = 7;
    let Some((id, aimed)) = aim_kill(payload, escapes, OTHER) else { return };
    assert_eq!(aimed.len(), payload.len());
    let (named, back) = aim_kill(&aimed, escapes, OTHER).expect("still a KILL");
    assert_eq!((named, back), (OTHER, aimed), "the KILL was for {id}");
}
