//! The cosignatures that came in: checkpoints with the lines of witnesses, kept beside the ledger, read offline.
//!
//! A file of signed notes like the witness file's. It is appended to until it is full; then it becomes the one from before
//! (`.old`), and the new one begins with the last cosigned checkpoint of each witness. So two files bound it.

use std::path::{Path, PathBuf};

use crate::cosignature::{Cosignature, WitnessKey, cosignatures};
use crate::error::LedgerError;
use crate::files::{file_error, sync_parent, with_suffix, write_whole};
use crate::note::{NoteError, TreeHead, VerifierKey, open_checkpoint};
use crate::witness::{append, notes, read_tail};

/// The file's name in the ledger's directory.
pub const COSIGNED_FILE: &str = "ledger.cosigned";
/// How large the file becomes, in bytes: some thousand cosigned checkpoints.
pub const MAX_COSIGNED_BYTES: u64 = 1 << 20;
/// How many witnesses a ledger can have.
pub const MAX_WITNESSES: usize = 16;

/// A checkpoint of the ledger that a witness cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// What the checkpoint says.
    pub head: TreeHead,
    /// The witness's cosignature.
    pub cosignature: Cosignature,
    /// The whole note.
    pub note: String,
}

/// The largest checkpoint that each of `witnesses` cosigned and `ledger` signed. What does not fit is passed over: it
/// vouches for nothing.
pub fn latest_cosigned(text: &str, ledger: &VerifierKey, witnesses: &[WitnessKey]) -> Vec<Cosigned> {
    let mut latest: Vec<Cosigned> = Vec::new();
    for note in notes(text) {
        let Ok(head) = open_checkpoint(&note, ledger) else { continue };
        for cosignature in cosignatures(&note, witnesses).unwrap_or_default() {
            let found = Cosigned { head: head.clone(), cosignature, note: note.clone() };
            match latest.iter_mut().find(|known| known.cosignature.witness == found.cosignature.witness) {
                Some(known) if known.head.size < found.head.size => *known = found,
                Some(_) => {}
                None => latest.push(found),
            }
        }
    }
    latest
}

/// The cosigned checkpoints beside the ledger in `directory`, as text; empty where there are none.
///
/// # Errors
/// [`LedgerError::File`] when a file is there and cannot be read.
pub fn read_cosigned(directory: &Path) -> Result<String, LedgerError> {
    let path = directory.join(COSIGNED_FILE);
    let mut text = String::new();
    for path in [with_suffix(&path, ".old"), path] {
        if let Some(more) = read_tail(&path, MAX_COSIGNED_BYTES)? {
            text.push_str(&more);
            text.push('\n');
        }
    }
    Ok(text)
}

/// The file, open for more.
#[derive(Debug)]
pub struct CosignedFile {
    path: PathBuf,
    ledger: VerifierKey,
    witnesses: Vec<WitnessKey>,
    latest: Vec<Cosigned>,
    most_bytes: u64,
}

impl CosignedFile {
    /// Reads what is there beside the ledger in `directory`. Only `witnesses` are believed.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn open(
        directory: &Path,
        ledger: &VerifierKey,
        witnesses: Vec<WitnessKey>,
    ) -> Result<Self, LedgerError> {
        let latest = latest_cosigned(&read_cosigned(directory)?, ledger, &witnesses);
        let path = directory.join(COSIGNED_FILE);
        Ok(Self { path, ledger: ledger.clone(), witnesses, latest, most_bytes: MAX_COSIGNED_BYTES })
    }

    /// Believes these witnesses from now on, and reads anew what each of them cosigned.
    ///
    /// # Errors
    /// [`LedgerError::File`]: those from before are believed.
    pub fn believe(&mut self, witnesses: Vec<WitnessKey>) -> Result<(), LedgerError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        self.latest = latest_cosigned(&read_cosigned(directory)?, &self.ledger, &witnesses);
        self.witnesses = witnesses;
        Ok(())
    }

    /// The witnesses that are believed.
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// The largest checkpoint of each witness.
    pub fn latest(&self) -> &[Cosigned] {
        &self.latest
    }

    /// What `note` says, and those of its cosignatures that are news: of a larger checkpoint than the witness's last.
    ///
    /// # Errors
    /// [`NoteError`] when the ledger did not sign it, or when no known witness did.
    pub fn news(&self, note: &str) -> Result<(TreeHead, Vec<Cosignature>), NoteError> {
        let head = open_checkpoint(note, &self.ledger)?;
        let mut found = cosignatures(note, &self.witnesses)?;
        if found.is_empty() {
            return Err(NoteError::Malformed("none of the witnesses in agentd.toml cosigned it"));
        }
        found.retain(|cosignature| {
            let known = self.latest.iter().find(|known| known.cosignature.witness == cosignature.witness);
            known.is_none_or(|known| known.head.size < head.size)
        });
        Ok((head, found))
    }

    /// Keeps the news of `note`, durably. Lines that are not by a known witness are not kept.
    ///
    /// # Errors
    /// [`LedgerError::File`]: it is not kept.
    pub fn keep(&mut self, head: &TreeHead, note: &str, news: &[Cosignature]) -> Result<(), LedgerError> {
        let ledgers = note.split_inclusive('\n').filter(|line| {
            !line.starts_with('\u{2014}') || line.starts_with(&format!("\u{2014} {} ", self.ledger.name()))
        });
        let mut kept: String = ledgers.collect();
        for cosignature in news {
            kept.push_str(&cosignature.line);
        }
        let size = self.path.symlink_metadata().map_or(0, |metadata| metadata.len());
        if size + kept.len() as u64 + 2 > self.most_bytes {
            self.begin_again()?;
        }
        append(&self.path, &kept)?;
        for cosignature in news {
            self.latest.retain(|known| known.cosignature.witness != cosignature.witness);
            self.latest.push(Cosigned {
                head: head.clone(),
                cosignature: cosignature.clone(),
                note: kept.clone(),
            });
        }
        Ok(())
    }

    fn begin_again(&self) -> Result<(), LedgerError> {
        let old = with_suffix(&self.path, ".old");
        std::fs::rename(&self.path, &old).map_err(file_error("set aside", &self.path))?;
        sync_parent(&self.path)?;
        let mut latest: Vec<&str> = self.latest.iter().map(|known| known.note.as_str()).collect();
        latest.dedup();
        let notes: String = latest.iter().flat_map(|note| [*note, "\n"]).collect();
        write_whole(&self.path, &notes, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosignature::{WitnessSigner, with_cosignature};
    use crate::note::SigningKey;

    #[test]
    fn news_is_kept_once_and_the_file_stays_bounded_without_losing_a_witness() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, _) = SigningKey::generate("ledger.test/a").unwrap();
        let [one, two] =
            ["witness.test/1", "witness.test/2"].map(|name| WitnessSigner::generate(name).unwrap().0);
        let keys = vec![one.public().clone(), two.public().clone()];
        let mut file = CosignedFile::open(directory.path(), ledger.verifier(), keys.clone()).unwrap();
        file.most_bytes = 8192;
        let by = |signer: &WitnessSigner, size: u64| {
            let note = ledger.sign(size, &[7; 32]).note;
            let line = signer.cosign(&note, 1000).unwrap();
            with_cosignature(&note, &line).unwrap()
        };
        let mut keep = |note: &str| {
            let (head, news) = file.news(note).unwrap();
            if !news.is_empty() {
                file.keep(&head, note, &news).unwrap();
            }
            news.len()
        };
        assert_eq!(keep(&by(&one, 3)), 1);
        assert_eq!(keep(&by(&one, 3)), 0);
        assert_eq!(keep(&by(&one, 2)), 0);
        for size in 4..60 {
            keep(&by(&two, size));
        }
        let path = directory.path().join(COSIGNED_FILE);
        assert!(with_suffix(&path, ".old").exists());
        assert!(path.metadata().unwrap().len() <= 8192);
        std::fs::remove_file(with_suffix(&path, ".old")).unwrap();
        let text = read_cosigned(directory.path()).unwrap();
        let mut latest = latest_cosigned(&text, ledger.verifier(), &keys);
        latest.sort_by_key(|known| known.head.size);
        assert_eq!(latest.iter().map(|known| known.head.size).collect::<Vec<_>>(), [3, 59]);
        let (stranger, _) = WitnessSigner::generate("witness.test/1").unwrap();
        assert!(file.news(&by(&stranger, 5000)).is_err());
    }
}
