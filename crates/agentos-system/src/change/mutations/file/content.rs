//! `file.write`, `file.append`, `file.copy`: what a file holds.

use agentos_api::mutation::file as api;
use agentos_api::mutation::file::{ContentEncoding, MAX_CONTENT_BYTES};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;

use super::{followed, in_field, mode, place};
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::file::{Content, FileState, Place};
use crate::change::planner::Planner;

/// Largest file that something is appended to.
const LARGEST_APPENDED: u64 = 16 << 20;

fn decoded(content: &str, encoding: ContentEncoding) -> Result<Vec<u8>, ChangeError> {
    if content.len() > MAX_CONTENT_BYTES {
        return Err(ChangeError::invalid(
            "content",
            format!("must be at most {MAX_CONTENT_BYTES} bytes long"),
        ));
    }
    match encoding {
        ContentEncoding::Text => Ok(content.as_bytes().to_vec()),
        ContentEncoding::Base64 => STANDARD.decode(content).map_err(|error| {
            ChangeError::invalid("content", format!("is not base64 (RFC 4648, padded): {error}"))
        }),
    }
}

/// Plans that `place` holds `bytes`, with the attributes that it has.
fn hold(
    planner: &mut Planner<'_>,
    place: Place,
    from: FileState,
    bytes: &[u8],
    new_mode: u32,
) -> Result<(), ChangeError> {
    let attributes = match &from {
        FileState::Absent => planner.new_attributes(&place, new_mode, false)?,
        FileState::File { attributes, .. } => attributes.clone(),
        other => {
            return Err(ChangeError::refused(format!(
                "{} is no regular file: {}",
                place.text(),
                other.text(&planner.machine.accounts)
            )));
        }
    };
    let sha256 = planner.batch.put(bytes)?;
    let content = Content { sha256, size: bytes.len() as u64, not_kept: false, modified: None };
    let to = FileState::File { attributes, content };
    if matches!(from, FileState::File { .. }) {
        planner.not_covered("programs that have the file open go on with its old content".to_owned());
    }
    planner.change(place, from, to)
}

impl Plan for api::Write {
    fn check(args: &api::WriteArgs) -> Result<(), ChangeError> {
        decoded(&args.content, args.encoding)?;
        args.mode.as_deref().map_or(Ok(0o644), mode).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::WriteArgs) -> Result<(), ChangeError> {
        let bytes = decoded(&args.content, args.encoding)?;
        let new_mode = args.mode.as_deref().map_or(Ok(0o644), mode)?;
        let (place, from) = followed(planner, &args.path)?;
        planner.summary(match &from {
            FileState::Absent => format!("Makes {} ({} bytes)", place.text(), bytes.len()),
            _ => format!("Replaces the content of {} ({} bytes)", place.text(), bytes.len()),
        });
        hold(planner, place, from, &bytes, new_mode)
    }
}

impl Plan for api::Append {
    fn check(args: &api::AppendArgs) -> Result<(), ChangeError> {
        decoded(&args.content, args.encoding).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::AppendArgs) -> Result<(), ChangeError> {
        let added = decoded(&args.content, args.encoding)?;
        let (place, from) = followed(planner, &args.path)?;
        let mut bytes = match &from {
            FileState::File { content, .. } if content.size > LARGEST_APPENDED => {
                return Err(ChangeError::refused(format!(
                    "{} is {} bytes long; more than {LARGEST_APPENDED} are not rewritten to append to them",
                    place.text(),
                    content.size
                )));
            }
            FileState::File { content, .. } => held(planner, content)?,
            _ => Vec::new(),
        };
        if args.encoding == ContentEncoding::Text && bytes.last().is_some_and(|&last| last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&added);
        planner.summary(format!("Adds {} bytes at the end of {}", added.len(), place.text()));
        hold(planner, place, from, &bytes, 0o644)
    }
}

/// A content that was just read, or is in the store from before.
fn held(planner: &Planner<'_>, content: &Content) -> Result<Vec<u8>, ChangeError> {
    match planner.batch.get(&content.sha256) {
        Some(bytes) => Ok(bytes),
        None => Ok(planner.batch.store().get(&content.sha256, LARGEST_APPENDED)?),
    }
}

impl Plan for api::Copy {
    fn plan(planner: &mut Planner<'_>, args: api::CopyArgs) -> Result<(), ChangeError> {
        let (source, state) = followed(planner, &args.path)?;
        let FileState::File { attributes, content } = state else {
            return Err(match state {
                FileState::Absent => ChangeError::io(source.text(), Errno::NOENT),
                other => ChangeError::refused(format!(
                    "{} is no regular file: {}",
                    source.text(),
                    other.text(&planner.machine.accounts)
                )),
            });
        };
        if content.not_kept {
            return Err(ChangeError::refused(format!(
                "{} is {} bytes long, more than is kept for changes",
                source.text(),
                content.size
            )));
        }
        let place = place(planner, &args.to).map_err(|error| in_field(error, "to"))?;
        let from = planner.state(&place)?;
        if !matches!(from, FileState::Absent | FileState::File { .. }) {
            return Err(ChangeError::refused(format!(
                "{} is there and is no regular file: {}",
                place.text(),
                from.text(&planner.machine.accounts)
            )));
        }
        planner.summary(format!("Copies {} to {}", source.text(), place.text()));
        let content = Content { modified: None, ..content };
        planner.change(place, from, FileState::File { attributes, content })
    }
}
