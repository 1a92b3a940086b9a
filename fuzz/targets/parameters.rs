//! Parameters inside commands: query attributes, and the types of an execution.
//!
//! Input: flags, the number of parameters, then a payload. What must hold: places are inside the payload;
//! types that were taken from one execution and put into it again are found there.

use tandem::wire::{Capabilities, Command, ExecutedTypes, sql_offset};

use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (flags, parameters) = (input.byte(), u16::from(input.byte()));
    let payload = input.0;
    let mut capabilities = Capabilities::PROTOCOL_41;
    if flags & 1 != 0 {
        capabilities = capabilities | Capabilities::QUERY_ATTRIBUTES;
    }
    if let Ok(at) = sql_offset(payload, capabilities) {
        assert!(at <= payload.len());
    }
    for command in [Command::StmtExecute, Command::StmtBulkExecute] {
        types(command, payload, parameters, capabilities);
    }
}

fn types(command: Command, payload: &[u8], parameters: u16, capabilities: Capabilities) {
    /// Of one parameter: a number, and a name without letters.
    const NAMED: [u8; 3] = [3, 0, 0];
    /// What stands before a payload in its buffer.
    const BEFORE: usize = 4;
    let place = ExecutedTypes::of(command, payload, parameters, capabilities);
    let Some(place) = place else { return };
    if place.are_there(payload) {
        if let Some(types) = place.read(payload) {
            assert!(place.fit(types));
        }
        return;
    }
    assert_eq!(place.read(payload), None);
    // Nobody but the place knows how many there are.
    let types = (1..=8 * payload.len().max(32)).find_map(|count| {
        [NAMED.repeat(count), [3, 0].repeat(count)].into_iter().find(|types| place.fit(types))
    });
    let types = types.expect("some types fit");
    let mut bytes = [&[0; BEFORE], payload].concat();
    place.insert(&mut bytes, BEFORE, &types);
    assert_eq!(place.read(&bytes[BEFORE..]), Some(&types[..]));
    assert_eq!(bytes.len(), BEFORE + payload.len() + types.len());
}
