//! Greeting a client, and hearing the first thing it says: over TLS, if it asks for that.
//!
//! A client that wants TLS answers the greeting with the beginning of an answer (SSLRequest), shakes
//! hands, and then answers whole. Some forget in the second answer that they asked for TLS in the
//! first, so that what counts is the stream and not the bit.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use crate::wire::{
    Greeting, HandshakeResponse, Malformed, PacketStream, Stream, StreamError, is_proxy_header,
};

/// What a client may say in one packet before it has logged in: 64 KiB of attributes, and as much again
/// for everything else.
pub(super) const LONGEST_LOGIN: usize = 128 * 1024;

/// A client that was greeted.
pub(super) struct Greeted {
    pub(super) packets: PacketStream<Stream>,
    /// Its answer's payload: the SSLRequest itself only where there was nothing to go over to.
    pub(super) payload: Result<Vec<u8>, StreamError>,
}

/// Sends the greeting and reads the answer.
///
/// # Errors
/// When the client asked for TLS and did not get through the handshake: there is no way left to tell
/// it anything.
pub(super) async fn greet(
    stream: Stream,
    greeting: &Greeting,
    tls: Option<&Arc<ServerConfig>>,
) -> io::Result<Greeted> {
    let mut packets = PacketStream::new(stream).with_longest(LONGEST_LOGIN);
    let payload = match packets.write(&greeting.to_payload()).await {
        Ok(()) => first_packet(&mut packets).await,
        Err(error) => Err(error),
    };
    let asked = payload.as_ref().is_ok_and(|payload| HandshakeResponse::is_ssl_request(payload));
    let Some(tls) = tls.filter(|_| asked) else { return Ok(Greeted { packets, payload }) };
    let seq = packets.next_seq();
    // Whatever came behind the request is TLS already, and never a packet.
    let (stream, ahead) = packets.into_parts();
    let mut packets = PacketStream::new(stream.accept_tls(&ahead, Arc::clone(tls)).await?)
        .with_longest(LONGEST_LOGIN);
    packets.set_seq(seq);
    let payload = packets.read().await;
    Ok(Greeted { packets, payload })
}

async fn first_packet(packets: &mut PacketStream<Stream>) -> Result<Vec<u8>, StreamError> {
    if is_proxy_header(packets.header().await?.to_bytes()) {
        let text = "a PROXY protocol header, from an address that is not in \
                    proxy_protocol.accept_from";
        return Err(Malformed(text).into());
    }
    packets.read().await
}
