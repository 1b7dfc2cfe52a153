//! What witnesses cosigned of a ledger, held against it: the part of `verify-ledger` that root of the machine cannot forge.

use std::path::Path;

use agentos_ledger::{
    Cosigned, Report, VerifierKey, VerifyError, VerifyOptions, Violation, WitnessKey, latest_cosigned,
    read_cosigned, verify,
};
use clap::Args;
use serde::Serialize;

use crate::error::{CliError, Exit};
use crate::output::{Cell, Style, Table, count, counted};

/// Who has to vouch for the ledger.
#[derive(Debug, Args)]
pub(super) struct Witnesses {
    /// A witness's public key, kept from `agentctl witness show`, or a file with one; give it once for each
    #[arg(long = "witness", value_name = "KEY")]
    keys: Vec<String>,
    /// How many different witnesses must have cosigned; without it all that are given
    #[arg(long, value_name = "N", requires = "keys", value_parser = clap::value_parser!(u16).range(1..))]
    quorum: Option<u16>,
}

/// What the witnesses vouch for.
#[derive(Debug, Serialize)]
pub(super) struct Witnessed {
    /// How many witnesses it takes.
    quorum: usize,
    /// Up to which event that many vouch; nothing where fewer have cosigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// How many events after it they do not.
    unwitnessed: u64,
    /// The largest checkpoint of each.
    witnesses: Vec<OfOne>,
}

#[derive(Debug, Serialize)]
struct OfOne {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

/// Why the ledger is not what was cosigned.
#[derive(Debug)]
pub(super) struct Departs {
    pub(super) reason: String,
    pub(super) violation: Violation,
}

impl Witnesses {
    /// The keys, all different.
    fn keys(&self) -> Result<Vec<WitnessKey>, CliError> {
        let mut keys: Vec<WitnessKey> = Vec::new();
        for text in &self.keys {
            let key = parse(text)?;
            if keys.contains(&key) {
                return Err(CliError::with_exit(
                    format!("the witness {} is given twice", key.name()),
                    Exit::Usage,
                ));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Holds what is kept beside the database `path` against the ledger, which `report` found whole. Each witness's
    /// largest checkpoint must hold, also those that the quorum does not need: one that does not is evidence.
    pub(super) fn check(
        &self,
        path: &Path,
        key: Option<&VerifierKey>,
        report: &Report,
    ) -> Result<Result<Option<Witnessed>, Departs>, CliError> {
        let keys = self.keys()?;
        if keys.is_empty() {
            return Ok(Ok(None));
        }
        let Some(key) = key else {
            return Err(CliError::new("no public key is known to check cosigned checkpoints with")
                .hint("Give the key you kept with --public-key."));
        };
        let quorum = self.quorum.map_or(keys.len(), usize::from);
        if quorum > keys.len() {
            let message = format!("a quorum of {quorum} takes more witnesses than the {} given", keys.len());
            return Err(CliError::with_exit(message, Exit::Usage).hint("Name each with --witness KEY."));
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            CliError::new("what witnesses cosigned cannot be read").because(error)
        };
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let text = read_cosigned(directory).map_err(|error| failed(&error))?;
        let latest = latest_cosigned(&text, key, &keys);
        for cosigned in &latest {
            let options = VerifyOptions::default().signed_by(key.clone()).trusting(&cosigned.note);
            match verify(path, options) {
                Ok(_) => {}
                Err(VerifyError::Violation(violation)) => {
                    let reason = format!(
                        "it is not the one of which {} cosigned {}: {violation}",
                        cosigned.cosignature.witness.name(),
                        counted(cosigned.head.size, "event")
                    );
                    return Ok(Err(Departs { reason, violation }));
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(Ok(Some(Witnessed::of(&keys, &latest, quorum, report.size))))
    }
}

impl Witnessed {
    fn of(keys: &[WitnessKey], latest: &[Cosigned], quorum: usize, size: u64) -> Self {
        let of = |key: &WitnessKey| latest.iter().find(|cosigned| cosigned.cosignature.witness == *key);
        let mut sizes: Vec<u64> = latest.iter().map(|cosigned| cosigned.head.size).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        // Who vouches for a larger ledger vouches for its beginning.
        let vouched = quorum.checked_sub(1).and_then(|last| sizes.get(last)).copied();
        Self {
            quorum,
            size: vouched,
            unwitnessed: size.saturating_sub(vouched.unwrap_or(0)),
            witnesses: keys
                .iter()
                .map(|key| OfOne {
                    name: key.name().to_owned(),
                    size: of(key).map(|cosigned| cosigned.head.size),
                    time: of(key).map(|cosigned| cosigned.cosignature.time),
                })
                .collect(),
        }
    }

    /// Why it is not enough, if it is not.
    pub(super) fn shortfall(&self) -> Option<String> {
        let cosigned = self.witnesses.iter().filter(|witness| witness.size.is_some()).count();
        self.size.is_none().then(|| {
            format!("of {} witnesses {cosigned} cosigned it, and {} must", self.witnesses.len(), self.quorum)
        })
    }

    /// The lines that people read.
    pub(super) fn show(&self, table: &mut Table) {
        for witness in &self.witnesses {
            let said = match witness.size {
                Some(size) => format!("{} cosigned {}", witness.name, counted(size, "event")),
                None => format!("{} cosigned nothing", witness.name),
            };
            table.field("witness", said);
        }
        match self.size {
            Some(size) => {
                let said = format!(
                    "the first {} by {}; {} after them not",
                    count(size),
                    self.quorum,
                    count(self.unwitnessed)
                );
                table.field("witnessed", said);
            }
            None => {
                table.field("witnessed", Cell::styled(format!("no event by {}", self.quorum), Style::Bad));
            }
        }
    }
}

/// The key that `text` is or names a file of.
fn parse(text: &str) -> Result<WitnessKey, CliError> {
    let given = |text: &str| text.trim().parse::<WitnessKey>();
    let error = match given(text) {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    let hint = "A witness's key is one line, name+hash+base64: agentctl witness show.";
    let file = Path::new(text);
    let small = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= 1024);
    let read = if small { std::fs::read_to_string(file).ok() } else { None };
    match read.as_deref().map(given) {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => {
            Err(CliError::new(format!("{text:?} holds no witness's key")).because(&error).hint(hint))
        }
        None => Err(CliError::new(format!("{text:?} is neither a witness's key nor a file with one"))
            .because(&error)
            .hint(hint)),
    }
}
