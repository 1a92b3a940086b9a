//! Sequence numbers of a compressed hop.
//!
//! Compressed packets have a count of their own, and the ordinary packets inside go by it too: a
//! server sets its count of ordinary packets to that of the compressed ones whenever it has read one
//! or flushed an answer, and nobody checks the numbers inside but some clients, which expect just
//! that. libmariadb even numbers all packets of a long command 0. On the other hop, which is not
//! compressed or compressed otherwise, numbers must be without gaps. So both counts are made anew on
//! their way through here.
//!
//! Towards a client (sources: `net_read_packet_header` and `net_flush` in sql-common/net_serv.cc,
//! which MySQL's client library has too, and ma_net.c of MariaDB's):
//! - A command starts with compressed packet 0; what continues an exchange (a file, an answer of an
//!   authentication) counts on from the server's last packet.
//! - An answer counts on from the last compressed packet that the command came in, whatever was read
//!   ahead since: libmysqlclient gives the connection up at any other number.
//!
//! Towards a server it is the same seen from the other side. There every command gets a compressed
//! packet of its own, because servers begin to count anew between two commands, not within a packet.

use std::collections::VecDeque;

use super::packet::{Header, MAX_PAYLOAD};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client: what comes are commands.
    Client,
    /// A server: what comes are answers.
    Server,
}

/// Both counts in both directions.
#[derive(Debug)]
pub(super) struct CompressedNumbers {
    peer: Peer,
    incoming: Incoming,
    outgoing: Outgoing,
}

#[derive(Debug, Default)]
struct Incoming {
    framing: Framing,
    /// Bytes that were handed out.
    total: u64,
    /// From a client: where compressed packets began in that, and their numbers.
    begun: VecDeque<(u64, u8)>,
    /// The last compressed packet's.
    last: u8,
    /// The next ordinary packet's.
    next: u8,
    /// The next ordinary packet is the first of a compressed one that continues an exchange, or that
    /// begins an answer.
    continues: bool,
    /// Within a file or another answer of the client's, which goes on until an empty packet.
    in_reply: bool,
}

#[derive(Debug, Default)]
struct Outgoing {
    framing: Framing,
    /// The next compressed packet's.
    compressed: u8,
    /// The next ordinary packet's.
    inner: u8,
    /// The last ordinary packet's, as it was before.
    last: u8,
    /// Towards a server: within a file or another answer.
    in_reply: bool,
    /// Something was written since something was last read.
    since_read: bool,
    /// What is written answers what was handed out up to here; `None`: all of it.
    answers: Option<u64>,
}

impl CompressedNumbers {
    pub(super) fn new(peer: Peer) -> Self {
        // The login is over, and either side may be the next to speak.
        let outgoing = Outgoing { since_read: true, ..Outgoing::default() };
        Self { peer, incoming: Incoming::default(), outgoing }
    }

    /// A compressed packet with this number has begun.
    pub(super) fn received(&mut self, seq: u8) {
        let incoming = &mut self.incoming;
        let turned = std::mem::take(&mut self.outgoing.since_read);
        match self.peer {
            Peer::Client => {
                // A long file counts through 255 to 0 again.
                let counts_on = !turned && incoming.in_reply && incoming.last == 255;
                if seq == 0 && !counts_on {
                    incoming.in_reply = false;
                }
                incoming.continues = turned && seq != 0 && incoming.framing.is_between();
                incoming.begun.push_back((incoming.total, seq));
            }
            Peer::Server => {
                let anew = turned || seq != incoming.last.wrapping_add(1);
                incoming.continues = anew && incoming.framing.is_between();
                self.outgoing.compressed = seq.wrapping_add(1);
            }
        }
        incoming.last = seq;
    }

    /// Numbers what was unpacked as if it had come without compression.
    pub(super) fn hand_out(&mut self, bytes: &mut [u8]) {
        let Self { peer, incoming, outgoing } = self;
        let Incoming { framing, next, continues, in_reply, .. } = incoming;
        framing.walk(bytes, |packet| {
            let continues = std::mem::take(continues);
            let number = match peer {
                _ if packet.continued => *next,
                Peer::Server if continues => outgoing.last.wrapping_add(1),
                Peer::Server => *next,
                Peer::Client if *in_reply => *next,
                Peer::Client if continues && packet.seq != 0 => {
                    *in_reply = true;
                    outgoing.last.wrapping_add(1)
                }
                Peer::Client => 0,
            };
            *in_reply &= packet.len > 0;
            *next = number.wrapping_add(1);
            number
        });
        incoming.total += bytes.len() as u64;
    }

    /// What is written from now on answers everything that was handed out but the last `ahead`
    /// bytes, which are commands that a client sent ahead.
    pub(super) fn answer_all_but(&mut self, ahead: usize) {
        self.outgoing.answers = Some(self.incoming.total - (ahead as u64).min(self.incoming.total));
        self.count_on();
        // Both counts meet between two answers, as they do when a server flushes.
        self.outgoing.inner = self.outgoing.compressed;
    }

    /// What is written answers what was last read.
    pub(super) fn answer_all(&mut self) {
        self.outgoing.answers = None;
    }

    fn count_on(&mut self) {
        let upto = self.outgoing.answers.unwrap_or(u64::MAX);
        while let Some((_, seq)) = self.incoming.begun.pop_front_if(|(begin, _)| *begin < upto) {
            self.outgoing.compressed = seq.wrapping_add(1);
            self.outgoing.inner = seq.wrapping_add(1);
        }
    }

    /// Numbers the beginning of `bytes` for a compressed packet. Returns how much of it goes into
    /// that packet, and its number.
    pub(super) fn send(&mut self, bytes: &mut [u8]) -> (usize, u8) {
        match self.peer {
            Peer::Client => {
                self.count_on();
                let outgoing = &mut self.outgoing;
                let Outgoing { framing, inner, last, .. } = outgoing;
                framing.walk(bytes, |packet| {
                    *last = packet.seq;
                    let number = *inner;
                    *inner = number.wrapping_add(1);
                    number
                });
                self.sent(bytes.len())
            }
            Peer::Server => {
                let len = self.one_command(bytes);
                let Outgoing { framing, last, .. } = &mut self.outgoing;
                framing.walk(&mut bytes[..len], |packet| {
                    *last = packet.seq;
                    packet.seq
                });
                self.sent(len)
            }
        }
    }

    fn sent(&mut self, len: usize) -> (usize, u8) {
        self.outgoing.since_read = true;
        let seq = self.outgoing.compressed;
        self.outgoing.compressed = seq.wrapping_add(1);
        (len, seq)
    }

    /// How much of `bytes` goes before the next command begins. A command at their front starts the
    /// count anew.
    fn one_command(&mut self, bytes: &mut [u8]) -> usize {
        let outgoing = &mut self.outgoing;
        let mut upto = bytes.len();
        let (mut begins, mut in_reply, mut last) = (false, outgoing.in_reply, outgoing.last);
        let mut framing = outgoing.framing;
        let since_read = outgoing.since_read;
        framing.walk(bytes, |packet| {
            if packet.at < upto && !packet.continued {
                // A long file counts through 255 to 0 again.
                let counts_on = in_reply && last == 255 && (since_read || packet.at > 0);
                let command = packet.seq == 0 && !counts_on;
                if command && packet.at > 0 {
                    upto = packet.at;
                } else {
                    begins |= command;
                    in_reply = !command;
                }
            }
            if packet.at < upto {
                last = packet.seq;
            }
            packet.seq
        });
        outgoing.in_reply = in_reply;
        if begins {
            outgoing.compressed = 0;
        }
        // A header that is not whole yet may be that of a command: it goes with the rest of it.
        match framing.at_header() {
            part if part > 0 && part < upto && upto == bytes.len() => upto - part,
            _ => upto,
        }
    }
}

/// Where packets begin in bytes that come in any pieces.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    head: [u8; Header::LEN],
    have: usize,
    left: usize,
    continued: bool,
}

/// A packet whose header ends in the bytes at hand.
struct Begun {
    len: usize,
    seq: u8,
    /// Where its header began; 0 if that was earlier.
    at: usize,
    /// It continues the one before it.
    continued: bool,
}

impl Framing {
    /// Follows packets through `bytes` and puts the numbers into their headers that `number` says.
    fn walk(&mut self, bytes: &mut [u8], mut number: impl FnMut(Begun) -> u8) {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let part = self.left.min(bytes.len() - at);
                self.left -= part;
                at += part;
                continue;
            }
            self.head[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have == Header::LEN {
                self.have = 0;
                let len =
                    u32::from_le_bytes([self.head[0], self.head[1], self.head[2], 0]) as usize;
                let begun = Begun {
                    len,
                    seq: self.head[3],
                    at: at.saturating_sub(Header::LEN),
                    continued: self.continued,
                };
                bytes[at - 1] = number(begun);
                self.left = len;
                self.continued = len == MAX_PAYLOAD;
            }
        }
    }

    /// Whether the next byte begins a packet.
    fn is_between(&self) -> bool {
        self.left == 0 && self.have == 0
    }

    /// How many bytes of a header have come.
    fn at_header(&self) -> usize {
        self.have
    }
}

#[cfg(test)]
#[path = "compressed_numbers_tests.rs"]
mod tests;
