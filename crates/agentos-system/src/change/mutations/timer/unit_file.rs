//! The two files of a job (systemd.service(5), systemd.timer(5), systemd.syntax(7)).

use std::fmt::Write as _;

use super::calendar::When;

/// How both files begin: by it `timer.remove` knows them.
pub(super) const MARK: &str = "# Made by agentd (timer.create).";
/// What is agentd's is not there for a job of the agent's: its sockets, the ledger with its key, the policy.
const OUT_OF_SIGHT: &str = "-/etc/agentos -/run/agentos -/var/lib/agentos -/var/lib/agentos-gateway";

/// What the files say.
#[derive(Debug)]
pub(super) struct Job<'j> {
    pub(super) timer: &'j str,
    pub(super) description: Option<&'j str>,
    pub(super) argv: &'j [String],
    /// None is root.
    pub(super) user: Option<&'j str>,
    pub(super) when: &'j When,
    pub(super) persistent: bool,
    /// Keeps what is agentd's out of its sight.
    pub(super) confined: bool,
}

impl Job<'_> {
    fn head(&self) -> String {
        let name = self.timer.strip_suffix(".timer").unwrap_or(self.timer);
        // A percent sign begins a specifier.
        let description = self.description.unwrap_or(name).replace('%', "%%");
        format!("{MARK} timer.remove takes it away.\n[Unit]\nDescription={description}\n")
    }

    /// The service that runs the program.
    pub(super) fn service(&self) -> String {
        let mut text = self.head();
        text.push_str("\n[Service]\nType=oneshot\n");
        if let Some(user) = self.user {
            let _ = writeln!(text, "User={user}");
        }
        let words: Vec<String> = self.argv.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "ExecStart={}", words.join(" "));
        if self.confined {
            let _ = writeln!(text, "InaccessiblePaths={OUT_OF_SIGHT}");
            if self.user.is_some() {
                text.push_str("NoNewPrivileges=yes\n");
            }
        }
        text
    }

    /// The timer that starts it.
    pub(super) fn timer(&self) -> String {
        let mut text = self.head();
        text.push_str("\n[Timer]\n");
        if let Some(cron) = &self.when.cron {
            let _ = writeln!(text, "# crontab: {cron}");
        }
        for expression in &self.when.expressions {
            let _ = writeln!(text, "OnCalendar={expression}");
        }
        // systemd alone would run it up to a minute later.
        text.push_str("AccuracySec=1s\n");
        if self.persistent {
            text.push_str("Persistent=yes\n");
        }
        text.push_str("\n[Install]\nWantedBy=timers.target\n");
        text
    }
}

/// A word as `ExecStart=` takes it: nothing in it is a separator, an escape, a variable or a specifier. It holds no control
/// characters.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@,+-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for character in word.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '%' | '$' => text.extend([character, character]),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What systemd makes of a quoted word: specifiers, then quotes and escapes, then variables.
    fn read_back(text: &str) -> String {
        let text = text.replace("%%", "%");
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&text);
        let mut word = String::new();
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            if character == '\\' { word.extend(characters.next()) } else { word.push(character) }
        }
        word.replace("$$", "$")
    }

    #[test]
    fn the_files_are_whole() {
        let when = When {
            expressions: vec!["*-*-* 04:00:00".to_owned()],
            cron: Some("0 4 * * *".to_owned()),
            next: None,
        };
        let argv = ["/usr/bin/echo", "100%", "a b", "$HOME", ";", ""].map(str::to_owned);
        let job = Job {
            timer: "job-x.timer",
            description: Some("50% off"),
            argv: &argv,
            user: Some("pat"),
            when: &when,
            persistent: true,
            confined: true,
        };
        assert_eq!(
            job.service(),
            "# Made by agentd (timer.create). timer.remove takes it away.\n[Unit]\nDescription=50%% off\n\n[Service]\n\
             Type=oneshot\nUser=pat\nExecStart=/usr/bin/echo \"100%%\" \"a b\" \"$$HOME\" \";\" \"\"\n\
             InaccessiblePaths=-/etc/agentos -/run/agentos -/var/lib/agentos -/var/lib/agentos-gateway\n\
             NoNewPrivileges=yes\n"
        );
        assert_eq!(
            job.timer(),
            "# Made by agentd (timer.create). timer.remove takes it away.\n[Unit]\nDescription=50%% off\n\n[Timer]\n\
             # crontab: 0 4 * * *\nOnCalendar=*-*-* 04:00:00\nAccuracySec=1s\nPersistent=yes\n\n[Install]\n\
             WantedBy=timers.target\n"
        );
    }

    proptest! {
        #[test]
        fn a_word_stays_one_word_on_one_line(word in "[^\\p{Cc}]{0,40}") {
            let text = quoted(&word);
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(read_back(&text), word);
        }
    }
}
