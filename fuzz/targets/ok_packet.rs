//! OK packets: reading them, and taking the session state out of them.
//!
//! Input: a packet's sequence number, then its payload. What must hold: stripping never makes a packet
//! longer, and what it leaves is an OK packet that says the same but for the session state.

use tandem::wire::{Header, OkPacket, StatusFlags, put_packet, strip_session_state};

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
}
