//! The mutation that does what a transition of a file does.

use super::risk;
use crate::change::Like;
use crate::change::file::{FileState, FileTransition};
use crate::change::transition::Transition;

/// A transition of a file as the mutation that does the same; nothing for other transitions.
pub(in crate::change) fn like(transition: &Transition) -> Option<Like> {
    let Transition::File(file) = transition else { return None };
    let risk = risk::of(&file.place, &file.from).max(risk::of(&file.place, &file.to));
    Some(Like { mutation: name(file), risk, path: file.place.as_bytes().to_vec() })
}

fn name(file: &FileTransition) -> &'static str {
    match (&file.from, &file.to) {
        (_, FileState::Absent) => "file.delete",
        (_, FileState::Link { .. }) => "file.symlink",
        (FileState::Absent, FileState::Folder { .. }) => "file.mkdir",
        (FileState::File { content: before, .. }, FileState::File { content: after, .. })
            if before != after =>
        {
            "file.write"
        }
        (from, to) => match from.attributes().zip(to.attributes()) {
            Some((before, after)) if (before.uid, before.gid) != (after.uid, after.gid) => "file.chown",
            Some(_) => "file.chmod",
            None => "file.write",
        },
    }
}

#[cfg(test)]
mod tests {
    use agentos_api::change::Risk;

    use super::*;
    use crate::change::file::{Attributes, Content, Place};

    #[test]
    fn an_effect_is_known_by_what_it_does() {
        let place: Place = serde_json::from_str("\"/srv/x\"").unwrap();
        let attributes = |mode, uid| Attributes { uid, ..Attributes::new(mode) };
        let file = |text: &str, mode, uid| FileState::File {
            attributes: attributes(mode, uid),
            content: Content {
                sha256: agentos_objects::Hash::of(text.as_bytes()),
                size: text.len() as u64,
                not_kept: false,
                modified: None,
            },
        };
        let folder = || FileState::Folder { attributes: attributes(0o755, 0) };
        let link = || FileState::Link { target: "x".into(), uid: 0, gid: 0 };
        for (from, to, expected) in [
            (FileState::Absent, file("a", 0o644, 0), "file.write"),
            (file("a", 0o644, 0), file("b", 0o600, 0), "file.write"),
            (file("a", 0o644, 0), file("a", 0o600, 0), "file.chmod"),
            (file("a", 0o644, 0), file("a", 0o600, 7), "file.chown"),
            (file("a", 0o644, 0), FileState::Absent, "file.delete"),
            (folder(), FileState::Absent, "file.delete"),
            (FileState::Absent, folder(), "file.mkdir"),
            (file("a", 0o644, 0), link(), "file.symlink"),
        ] {
            let transition = FileTransition { place: place.clone(), from, to, other_names: 0 };
            let found = like(&Transition::File(transition)).unwrap();
            assert_eq!(
                (found.mutation, found.risk, found.path.as_slice()),
                (expected, Risk::Low, &b"/srv/x"[..])
            );
            assert!(agentos_api::mutation::NAMES.contains(&expected));
        }
    }
}
