//! OK packets: reading them, taking session state out of them, and putting our proof into them.
//!
//! Input: a packet's sequence number, then its payload. What must hold: taking something out never makes
//! a packet longer, and what is left is an OK packet that says the same but for what was taken out.

use tandem::wire::{
    Header, OkPacket, SessionChange, StatusFlags, put_packet, retain_session_state,
    strip_session_state, with_certificate_proof,
};

use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let seq = input.byte();
    let payload = input.0;
    let mut packet = Vec::new();
    put_packet(&mut packet, seq, payload);
    // What stands behind the packet is not its business.
    let whole = packet.len();
    packet.extend_from_slice(&[0xAA; 7]);

    let before = OkPacket::parse(payload);
    let changes = before.map(|ok| ok.session_changes().count());
    assert!(changes.unwrap_or(0) <= payload.len());
    let Ok(len) = strip_session_state(&mut packet) else {
        assert!(before.is_err(), "an OK packet that could be read was not stripped");
        return;
    };
    assert!(len <= whole, "it grew");
    assert_eq!(packet[whole..], [0xAA; 7]);
    let header = Header::read(&packet).expect("a header");
    assert_eq!((header.total(), header.seq), (len, seq));
    let Ok(before) = before else { return };
    let stripped = packet[Header::LEN..len].to_vec();
    let after = OkPacket::parse(&stripped).expect("still an OK packet");
    assert_eq!(after.affected_rows, before.affected_rows);
    assert_eq!(after.last_insert_id, before.last_insert_id);
    assert_eq!(after.warnings, before.warnings);
    assert_eq!(after.status.0, before.status.0 & !StatusFlags::SESSION_STATE_CHANGED.0);
    assert_eq!(after.session_changes().count(), 0);
    assert_eq!(strip_session_state(&mut packet), Ok(len), "there was more to take out");
    assert_eq!(packet[Header::LEN..len], stripped);
    retain(payload, &before);
    prove(payload, &before);
}

/// Only the schema and variables are kept.
fn retain(payload: &[u8], before: &OkPacket<'_>) {
    let wanted = |change: &SessionChange<'_>| {
        matches!(change, SessionChange::Schema(_) | SessionChange::SystemVariable { .. })
    };
    let mut packet = Vec::new();
    put_packet(&mut packet, 1, payload);
    let whole = packet.len();
    let len = retain_session_state(&mut packet, |change| wanted(&change)).expect("an OK packet");
    assert!(len <= whole, "it grew");
    let after = OkPacket::parse(&packet[Header::LEN..len]).expect("still an OK packet");
    assert_eq!(after.last_insert_id, before.last_insert_id);
    let kept: Vec<_> = after.session_changes().collect();
    assert_eq!(kept, before.session_changes().filter(wanted).collect::<Vec<_>>());
}

fn prove(payload: &[u8], before: &OkPacket<'_>) {
    let proof = [&[1][..], &[b'F'; 64]].concat();
    for proof in [None, Some(&proof[..])] {
        let Ok(proved) = with_certificate_proof(payload, proof) else { continue };
        let after = OkPacket::parse(&proved).expect("still an OK packet");
        assert_eq!((after.status, after.last_insert_id), (before.status, before.last_insert_id));
        assert!(after.session_changes().eq(before.session_changes()));
        let again = with_certificate_proof(&proved, proof);
        assert_eq!(again, Ok(proved), "twice is not once");
    }
}
