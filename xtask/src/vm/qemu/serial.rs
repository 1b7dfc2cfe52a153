//! What a machine writes to a virtual serial port, kept as it arrives: what has arrived is here even when the machine is
//! gone the moment after.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

/// The most that is kept.
const MAX_BYTES: usize = 64 << 20;

/// A port that is being read.
pub(crate) struct Port {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Port {
    /// Reads what QEMU connects with `socket`.
    ///
    /// # Errors
    /// When it cannot be connected to.
    pub(super) fn read(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("QEMU's serial port is closed")?;
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let reader = std::thread::spawn(move || keep(stream, &kept));
        Ok(Self { text, reader })
    }

    /// How many whole lines have arrived.
    pub(crate) fn count(&self) -> usize {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.split(|byte| *byte == b'\n').skip(1).count()
    }

    /// Every whole line, once the machine is gone.
    ///
    /// # Errors
    /// When it is not text, or more than is kept.
    pub(crate) fn finish(self) -> Result<Vec<String>> {
        let _ = self.reader.join();
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() >= MAX_BYTES {
            bail!("the machine wrote more than {MAX_BYTES} bytes to the port");
        }
        lines(&text)
    }
}

fn keep(mut stream: UnixStream, text: &Mutex<Vec<u8>>) {
    let mut chunk = vec![0; 1 << 16];
    // An error is the end as well: QEMU was killed.
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() + count > MAX_BYTES {
            text.resize(MAX_BYTES, b'\n');
            return;
        }
        text.extend_from_slice(&chunk[..count]);
    }
}

/// The whole lines of `text`; the last one may have been cut.
fn lines(text: &[u8]) -> Result<Vec<String>> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text =
        std::str::from_utf8(&text[..whole]).context("what the machine wrote to the port is not text")?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_does_not_count() {
        assert_eq!(lines(b"one\ntwo\nthr").unwrap(), ["one", "two"]);
        assert!(lines(b"").unwrap().is_empty());
        assert!(lines(b"cut").unwrap().is_empty());
        assert!(lines(b"\xff\n").is_err());
    }
}
