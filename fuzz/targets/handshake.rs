//! The packets of a login, read from any bytes.
//!
//! Input: the capabilities that COM_CHANGE_USER depends on, then a payload. What must hold: nothing
//! panics, and what was understood is understood again from what is written of it.

use tandem::wire::{
    AuthSwitch, Capabilities, ChangeUser, ErrorPacket, Greeting, HandshakeResponse, ZSTD_LEVEL,
};

use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let payload = input.0;
    response(payload);
    change_user(flags, payload);
    if let Ok(greeting) = Greeting::parse(payload) {
        assert_eq!(Greeting::parse(&greeting.to_payload()), Ok(greeting));
    }
    if let Ok(switch) = AuthSwitch::parse(payload) {
        assert_eq!(AuthSwitch::parse(&switch.to_payload()), Ok(switch));
    }
    if let Ok(error) = ErrorPacket::parse(payload) {
        assert_eq!(ErrorPacket::code_of(payload), Some(error.code));
        // Without a state a text that begins with `#` looks as if it had one.
        if error.state.is_some() || !error.message.starts_with('#') {
            let again = error.to_payload();
            assert_eq!(ErrorPacket::parse(&again).as_ref(), Ok(&error));
        }
    }
}

fn response(payload: &[u8]) {
    if HandshakeResponse::is_ssl_request(payload) {
        assert_eq!(payload.len(), 32);
    }
    let Ok(mut response) = HandshakeResponse::parse(payload) else { return };
    // Tandem itself never sends a token in the form of before 4.1.
    response.capabilities =
        response.capabilities | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH_LENENC;
    if response.capabilities.has(Capabilities::ZSTD) {
        response.zstd_level.get_or_insert(ZSTD_LEVEL); // may be missing, and is written all the same
    }
    assert_eq!(HandshakeResponse::parse(&response.to_payload()), Ok(response));
}

fn change_user(flags: u8, payload: &[u8]) {
    let mut capabilities = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
    for (bit, capability) in [(1, Capabilities::PLUGIN_AUTH), (2, Capabilities::CONNECT_ATTRS)] {
        if flags & bit != 0 {
            capabilities = capabilities | capability;
        }
    }
    if let Ok(change) = ChangeUser::parse(payload, capabilities) {
        assert!(!change.user.contains(&0));
        assert!(change.plugin.is_none() || flags & 1 != 0);
    }
}
