//! Packets of Tandem's own, and what the client has not taken yet.

use tokio::io::AsyncWriteExt as _;

use super::client_error::ClientError;
use super::credential::Credential;
use super::end::SessionEnd;
use super::relay::Relay;
use crate::wire::{Header, Malformed, certificate_proof, put_packet, with_certificate_proof};

impl Relay {
    /// An error of our own as the next packet of the answer.
    pub(super) async fn error_in_place(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        let mut packet = Vec::new();
        put_packet(&mut packet, self.tracker.next_seq(), &error.to_payload());
        self.tell_client(&packet).await
    }

    /// An error of our own as the whole answer to the command at the front.
    pub(super) async fn answer_error(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        let packet = self.as_answer(&error.to_payload());
        self.request.consume(self.front_len());
        self.tell_client(&packet).await
    }

    /// A payload as the first packet of the answer to the command at the front.
    pub(super) fn as_answer(&self, payload: &[u8]) -> Vec<u8> {
        let seq = Header::read(self.request.bytes()).map_or(0, |header| header.seq);
        let mut packet = Vec::new();
        put_packet(&mut packet, seq.wrapping_add(1), payload);
        packet
    }

    /// Lets the client take what it has not taken yet.
    pub(super) async fn flush_unsent(&mut self) -> Result<(), SessionEnd> {
        let unsent = std::mem::take(&mut self.unsent);
        self.tell_client(&unsent).await
    }

    /// The OK of a login, with what makes a MariaDB client trust our certificate, if there is one
    /// that it has to trust and a secret to prove it with.
    pub(super) fn with_own_proof(&self, ok: &[u8]) -> Result<Vec<u8>, Malformed> {
        let proof = match (&self.login.credential, &self.shown) {
            (Credential::Native(secret), Some(shown)) => {
                Some(certificate_proof(secret, &self.salt, shown))
            }
            _ => None,
        };
        with_certificate_proof(ok, proof.as_ref().map(|proof| &proof[..]))
    }

    /// Writes packets to the client.
    pub(super) async fn tell_client(&mut self, packets: &[u8]) -> Result<(), SessionEnd> {
        let telling = async {
            self.client.write_all(packets).await?;
            self.client.flush().await
        };
        telling.await.map_err(|error| SessionEnd::ClientGone(error.into()))?;
        self.unflushed = false;
        Ok(())
    }
}
