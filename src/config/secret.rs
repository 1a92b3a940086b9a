//! Texts that must not be shown.

use std::io;
use std::path::Path;

/// A text that is never printed and is wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The content of a secret's file. Editors end a file with a newline, and nobody means it.
    ///
    /// # Errors
    /// When the file cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut content = std::fs::read_to_string(path)?;
        if content.ends_with('\n') {
            content.pop();
            if content.ends_with('\r') {
                content.pop();
            }
        }
        Ok(Self(content))
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"***\"")
    }
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password; empty for none.
    pub password: Secret,
}
