//! Reading and writing the protocol's integers and strings.

/// A packet does not have the form that its kind demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);

/// Reads a packet's payload from front to back.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        if n > self.rest.len() {
            return Err(Malformed("it ends too early"));
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// When there are fewer.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or(Malformed("it ends too early"))?;
        self.rest = tail;
        Ok(*head)
    }

    /// `int<1>`.
    ///
    /// # Errors
    /// At the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `int<2>`.
    ///
    /// # Errors
    /// When it is cut off.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// `int<4>`.
    ///
    /// # Errors
    /// When it is cut off.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// `int<lenenc>`: one byte below 0xFB, or 0xFC, 0xFD, 0xFE and 2, 3 or 8 bytes.
    ///
    /// # Errors
    /// When it is cut off, or starts with 0xFB (NULL) or 0xFF (an error).
    #[inline]
    pub fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            byte @ 0..=0xFA => Ok(u64::from(byte)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.array::<3>().map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], 0]))),
            0xFE => self.array().map(u64::from_le_bytes),
            _ => Err(Malformed("a length starts with 0xFB or 0xFF")),
        }
    }

    /// `string<lenenc>`.
    ///
    /// # Errors
    /// When it is cut off.
    #[inline]
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.lenenc_int()?;
        self.bytes(usize::try_from(len).map_err(|_| Malformed("a length overflows"))?)
    }

    /// `string<NUL>`, without the NUL.
    ///
    /// # Errors
    /// When there is no NUL.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or(Malformed("a NUL is missing"))?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// `string<NUL>` whose NUL may be missing at the end of the packet, as some clients send it.
    #[must_use]
    pub fn nul_or_rest(&mut self) -> &'a [u8] {
        match self.nul_bytes() {
            Ok(text) => text,
            Err(Malformed(_)) => std::mem::take(&mut self.rest),
        }
    }
}

/// Appends `int<lenenc>`.
pub fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xFA => out.push(bytes[0]),
        0xFB..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0xFD);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends `string<lenenc>`.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lenenc_integers_round_trip(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_lenenc_int(&mut out, value);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.lenenc_int(), Ok(value));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.lenenc_bytes().is_ok() && !cursor.is_empty() {}
            let _ = cursor.nul_or_rest();
        }
    }

    #[test]
    fn a_string_that_promises_more_than_there_is_is_refused() {
        assert!(Cursor::new(&[5, 1, 2]).lenenc_bytes().is_err());
        assert!(
            Cursor::new(&[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]).lenenc_bytes().is_err()
        );
    }
}
