//! Taking decisions out of an input, and cutting bytes into pieces.

/// The front of an input, read byte by byte; zeroes behind its end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Up to `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// A text with a length of one byte before it.
    pub fn text(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        self.bytes(len)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Lengths of pieces, without end: pseudo-random ones that `seed` decides, mostly short.
pub fn lengths(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed) | 0x100;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        match state % 8 {
            0..=3 => 1,
            4..=6 => (state >> 8) as usize % 9 + 1,
            _ => (state >> 8) as usize % 5000 + 1,
        }
    })
}
