//! A witness: remembers the last checkpoint that it cosigned, and cosigns only what continues from it.
//!
//! Source: c2sp.org/tlog-witness. Nothing here speaks over a network. What a witness has seen is durable before its
//! cosignature leaves it; what it refuses is kept, both checkpoints side by side, because it is evidence.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cosignature::{WitnessKey, WitnessSigner, cosignatures, with_cosignature};
use crate::digest::{Digest, sha256, to_base64, to_hex};
use crate::error::LedgerError;
use crate::files::{file_error, no_follow, read_public_key, write_whole};
use crate::merkle::verify_consistency;
use crate::note::{MAX_NOTE_BYTES, NoteError, TreeHead, VerifierKey, open_checkpoint, parse};

/// The witness's private key. Mode 0600.
const KEY_FILE: &str = "witness.key";
/// The ledger's public key, as it was when the witness began.
const LEDGER_KEY_FILE: &str = "ledger.vkey";
/// The last checkpoint that was cosigned, with its cosignature.
const SEEN_FILE: &str = "seen";
/// One process at a time.
const LOCK_FILE: &str = "lock";
/// What was refused.
const REFUSED_DIRECTORY: &str = "refused";
/// How many refusals are kept. The first ones say most; the same one again is one.
const MAX_REFUSALS: usize = 64;

/// What speaks against a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// It is not signed by the ledger's key, or is of another ledger.
    #[error("it is not the ledger's")]
    NotTheLedgers(#[source] NoteError),
    /// The ledger has become smaller.
    #[error("the ledger had {seen} events and now shows {offered}: it was rolled back")]
    RolledBack {
        /// The size that was seen.
        seen: u64,
        /// The size that is offered.
        offered: u64,
    },
    /// Two roots at one size.
    #[error("the ledger shows another root at {0} events than before: it was rewritten")]
    OtherRoot(u64),
    /// The proof does not lead from what was seen to what is offered.
    #[error(
        "nothing shows that the ledger of {offered} events begins with the {seen} that were seen: it was rewritten"
    )]
    Forked {
        /// The size that was seen.
        seen: u64,
        /// The size that is offered.
        offered: u64,
    },
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// The checkpoint contradicts the ledger's key or what was seen before.
    #[error("the checkpoint is refused")]
    Refused {
        /// What speaks against it.
        #[source]
        disagreement: Disagreement,
        /// Where both checkpoints are kept.
        evidence: PathBuf,
    },
    /// The witness's own files cannot be used.
    #[error("the witness's files cannot be used")]
    State(#[from] LedgerError),
    /// What the witness kept cannot be read: without it nothing may be cosigned.
    #[error("{path:?}, the witness's own record, is damaged")]
    Record {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// Another process uses the witness's directory.
    #[error("another process uses {0:?}")]
    InUse(PathBuf),
    /// There is a witness already.
    #[error("there is a witness in {0:?} already")]
    Exists(PathBuf),
}

/// What a witness cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the checkpoint says.
    pub head: TreeHead,
    /// When it was cosigned, in seconds since 1970.
    pub time: u64,
    /// The checkpoint, with the witness's cosignature.
    pub note: String,
}

/// A witness of one ledger, its key and its memory in a directory of its own.
#[derive(Debug)]
pub struct Cosigner {
    directory: PathBuf,
    signer: WitnessSigner,
    ledger: VerifierKey,
    _lock: File,
}

impl Cosigner {
    /// Begins a witness under `name` of the ledger whose key is `ledger`. The directory is made with mode 0700.
    ///
    /// # Errors
    /// [`CosignError::Exists`] when there is one; [`CosignError::State`].
    pub fn create(directory: &Path, name: &str, ledger: &VerifierKey) -> Result<Self, CosignError> {
        let (_, text) = WitnessSigner::generate(name).map_err(LedgerError::Origin)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(file_error("make the directory", directory))?;
        let lock = take_lock(directory)?;
        let key = directory.join(KEY_FILE);
        if key.symlink_metadata().is_ok() {
            return Err(CosignError::Exists(directory.to_owned()));
        }
        // The key comes last: without it, nothing has begun.
        write_whole(&directory.join(LEDGER_KEY_FILE), &format!("{ledger}\n"), 0o644)?;
        write_whole(&key, &text, 0o600)?;
        drop(lock);
        Self::open(directory)
    }

    /// Opens the witness in `directory`, and keeps other processes out of it.
    ///
    /// # Errors
    /// [`CosignError::InUse`]; [`CosignError::State`] when a file is missing, or others could read the key.
    pub fn open(directory: &Path) -> Result<Self, CosignError> {
        let key = directory.join(KEY_FILE);
        let text = read_key(&key)?;
        let signer = WitnessSigner::parse(&text).map_err(|source| LedgerError::Key { path: key, source })?;
        let ledger = read_public_key(&directory.join(LEDGER_KEY_FILE))?;
        let lock = take_lock(directory)?;
        Ok(Self { directory: directory.to_owned(), signer, ledger, _lock: lock })
    }

    /// The witness's public key.
    pub fn key(&self) -> &WitnessKey {
        self.signer.public()
    }

    /// The key of the ledger that it watches.
    pub fn ledger(&self) -> &VerifierKey {
        &self.ledger
    }

    /// What was cosigned last; nothing before the first time.
    ///
    /// # Errors
    /// [`CosignError::Record`] when what is there is not what this witness wrote.
    pub fn seen(&self) -> Result<Option<Seen>, CosignError> {
        let path = self.directory.join(SEEN_FILE);
        let note = match read_bounded(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error("read", &path)(error).into()),
        };
        let damaged = |source| CosignError::Record { path: path.clone(), source };
        let head = open_checkpoint(&note, &self.ledger).map_err(damaged)?;
        let ours = cosignatures(&note, std::slice::from_ref(self.key())).map_err(damaged)?;
        let [ours] = ours.as_slice() else {
            return Err(damaged(NoteError::Malformed("it is not cosigned by this witness")));
        };
        Ok(Some(Seen { head, time: ours.time, note }))
    }

    /// How many refused checkpoints are kept, and where.
    pub fn refusals(&self) -> (usize, PathBuf) {
        let directory = self.directory.join(REFUSED_DIRECTORY);
        let kept = std::fs::read_dir(&directory).map_or(0, |entries| entries.take(MAX_REFUSALS).count());
        (kept, directory)
    }

    /// Whether `note` is the ledger's and continues from what was seen, as `hashes` (RFC 9162, section 2.1.4) show. With a
    /// first checkpoint and with one of the size that was seen there is nothing to show.
    ///
    /// # Errors
    /// [`CosignError::Refused`]: the evidence is kept then.
    pub fn check(&self, note: &str, hashes: &[Digest]) -> Result<TreeHead, CosignError> {
        let seen = self.seen()?;
        let disagreement = match open_checkpoint(note, &self.ledger) {
            Err(error) => Disagreement::NotTheLedgers(error),
            Ok(new) => match seen.as_ref().and_then(|seen| contradiction(&seen.head, &new, hashes)) {
                None => return Ok(new),
                Some(disagreement) => disagreement,
            },
        };
        let evidence = self.keep_evidence(&disagreement, seen.as_ref(), note, hashes)?;
        Err(CosignError::Refused { disagreement, evidence })
    }

    /// [`Cosigner::check`], then cosigns at `time` (seconds since 1970). That it was seen is durable before this returns.
    ///
    /// # Errors
    /// As [`Cosigner::check`]; [`CosignError::State`] when it could not be kept: then there is no cosignature.
    pub fn cosign(&self, note: &str, hashes: &[Digest], time: u64) -> Result<Seen, CosignError> {
        let head = self.check(note, hashes)?;
        let path = self.directory.join(SEEN_FILE);
        let own = |source| CosignError::Record { path: path.clone(), source };
        // Lines of other witnesses that came along are theirs to hand out.
        let bare = only_the_ledgers(note, &self.ledger).map_err(own)?;
        let line = self.signer.cosign(&bare, time).map_err(own)?;
        let note = with_cosignature(&bare, &line).map_err(own)?;
        write_whole(&path, &note, 0o600)?;
        Ok(Seen { head, time, note })
    }

    /// Keeps what was refused beside what was seen, once for each pair of the two.
    fn keep_evidence(
        &self,
        disagreement: &Disagreement,
        seen: Option<&Seen>,
        note: &str,
        hashes: &[Digest],
    ) -> Result<PathBuf, CosignError> {
        let (kept, directory) = self.refusals();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(file_error("make the directory", &directory))?;
        let note: String = note.chars().take(MAX_NOTE_BYTES).collect();
        let before = seen.map_or("none\n", |seen| seen.note.as_str());
        let mut content =
            format!("refused: {disagreement}\n\nseen before:\n{before}\noffered:\n{note}\nproof:\n");
        for hash in hashes.iter().take(128) {
            content.push_str(&to_base64(hash));
            content.push('\n');
        }
        let name = to_hex(&sha256(&[content.as_bytes()])).chars().take(16).collect::<String>();
        let path = directory.join(name);
        if path.symlink_metadata().is_err() && kept < MAX_REFUSALS {
            write_whole(&path, &content, 0o600)?;
        }
        Ok(if path.symlink_metadata().is_ok() { path } else { directory })
    }
}

fn contradiction(seen: &TreeHead, new: &TreeHead, hashes: &[Digest]) -> Option<Disagreement> {
    if new.size < seen.size {
        return Some(Disagreement::RolledBack { seen: seen.size, offered: new.size });
    }
    if new.size == seen.size {
        return (new.root != seen.root).then_some(Disagreement::OtherRoot(new.size));
    }
    let grew = seen.size == 0 || verify_consistency(seen.size, &seen.root, new.size, &new.root, hashes);
    (!grew).then_some(Disagreement::Forked { seen: seen.size, offered: new.size })
}

fn only_the_ledgers(note: &str, ledger: &VerifierKey) -> Result<String, NoteError> {
    let (text, _, _) = parse(note)?;
    let signatures = note.get(text.len() + 1..).unwrap_or_default();
    for line in signatures.split_inclusive('\n') {
        let bare = format!("{text}\n{line}");
        if open_checkpoint(&bare, ledger).is_ok() {
            return Ok(bare);
        }
    }
    Err(NoteError::BadSignature(ledger.name().to_owned()))
}

fn take_lock(directory: &Path) -> Result<File, CosignError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(&path)
        .map_err(file_error("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(CosignError::InUse(directory.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(file_error("lock", &path)(error).into()),
    }
}

fn read_key(path: &Path) -> Result<String, LedgerError> {
    let metadata = path.symlink_metadata().map_err(file_error("find the witness's key", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(LedgerError::KeyMode { path: path.to_owned(), mode });
    }
    read_bounded(path).map_err(file_error("read the witness's key", path))
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_NOTE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::note::SigningKey;

    /// Roots and proofs of a tree whose leaves are `leaves`, by the definition (RFC 9162, section 2.1).
    fn root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                sha256(&[&[1], &root(left), &root(right)])
            }
        }
    }

    pub(crate) fn proof(old: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let mut hashes =
            if old <= middle { proof(old, left, whole) } else { proof(old - middle, right, false) };
        hashes.push(root(if old <= middle { right } else { left }));
        hashes
    }

    pub(crate) fn leaves(count: u8, rewritten: Option<u8>) -> Vec<Digest> {
        (0..count).map(|number| [if rewritten == Some(number) { 255 } else { number }; 32]).collect()
    }

    pub(crate) fn note(key: &SigningKey, leaves: &[Digest]) -> String {
        key.sign(leaves.len() as u64, &root(leaves)).note
    }

    pub(crate) fn witness() -> (tempfile::TempDir, SigningKey, Cosigner) {
        let directory = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate("ledger.test/a").unwrap();
        let witness =
            Cosigner::create(&directory.path().join("w"), "witness.test/a", key.verifier()).unwrap();
        (directory, key, witness)
    }

    #[test]
    fn what_grew_is_cosigned_and_remembered_across_a_restart() {
        let (directory, key, witness) = witness();
        let first = witness.cosign(&note(&key, &leaves(5, None)), &[], 100).unwrap();
        assert_eq!(cosignatures(&first.note, &[witness.key().clone()]).unwrap().len(), 1);
        let whole = leaves(13, None);
        let second = witness.cosign(&note(&key, &whole), &proof(5, &whole, true), 200).unwrap();
        let (at, public) = (directory.path().join("w"), witness.key().clone());
        assert!(matches!(Cosigner::open(&at), Err(CosignError::InUse(_))));
        drop(witness);
        let witness = Cosigner::open(&at).unwrap();
        assert_eq!((witness.seen().unwrap(), witness.key()), (Some(second), &public));
        assert_eq!(witness.refusals().0, 0);
        assert!(matches!(
            Cosigner::create(&at, "witness.test/b", key.verifier()),
            Err(CosignError::InUse(_) | CosignError::Exists(_))
        ));
    }

    #[test]
    fn a_rollback_a_fork_and_a_foreign_key_are_refused_with_both_checkpoints_kept() {
        let (_directory, key, witness) = witness();
        let seen = witness.cosign(&note(&key, &leaves(8, None)), &[], 100).unwrap();
        let (namesake, _) = SigningKey::generate("ledger.test/a").unwrap();
        let (longer, forked) = (leaves(12, None), leaves(12, Some(3)));
        let cases = [
            (note(&key, &leaves(7, None)), Vec::new()),
            (note(&key, &leaves(8, Some(2))), Vec::new()),
            (note(&key, &forked), proof(8, &forked, true)),
            (note(&key, &longer), Vec::new()),
            (note(&namesake, &longer), proof(8, &longer, true)),
            ("no checkpoint".to_owned(), Vec::new()),
        ];
        for (number, (offered, hashes)) in cases.iter().enumerate() {
            for _ in 0..2 {
                let error = witness.cosign(offered, hashes, 200).unwrap_err();
                let CosignError::Refused { evidence, disagreement } = error else { panic!("{error}") };
                let kept = std::fs::read_to_string(&evidence).unwrap();
                assert!(kept.contains(offered) && kept.contains(&seen.note), "{disagreement}: {kept}");
                // The same refusal again is one.
                assert_eq!(witness.refusals().0, number + 1);
            }
            assert_eq!(witness.seen().unwrap().as_ref(), Some(&seen));
        }
        witness.cosign(&note(&key, &longer), &proof(8, &longer, true), 300).unwrap();
    }

    #[test]
    fn without_its_memory_or_with_an_open_key_it_does_not_cosign() {
        let (directory, key, witness) = witness();
        witness.cosign(&note(&key, &leaves(8, None)), &[], 100).unwrap();
        let at = directory.path().join("w");
        std::fs::write(at.join(SEEN_FILE), note(&key, &leaves(2, None))).unwrap();
        let tried = witness.cosign(&note(&key, &leaves(8, None)), &[], 200);
        assert!(matches!(tried, Err(CosignError::Record { .. })));
        drop(witness);
        std::fs::set_permissions(at.join(KEY_FILE), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Cosigner::open(&at), Err(CosignError::State(LedgerError::KeyMode { .. }))));
    }
}
