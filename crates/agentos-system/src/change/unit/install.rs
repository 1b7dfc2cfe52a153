//! What `[Install]` of a unit's file says (systemd.unit(5)): which links make it start with the machine.

use crate::change::error::ChangeError;

/// Values of one setting.
const MOST_VALUES: usize = 100;
/// Suffixes of the folders that hold links to units.
pub(crate) const LINK_FOLDERS: [&str; 3] = [".wants", ".requires", ".upholds"];

/// What enabling a unit makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Install {
    /// Links by their path below the folder of units: `multi-user.target.wants/nginx.service`, `syslog.service`.
    pub(crate) links: Vec<String>,
    /// Units that are enabled and disabled with it.
    pub(crate) also: Vec<String>,
}

impl Install {
    /// Reads the files of the unit `unit`: its own and those that add to it, in order.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] for what only systemctl(1) understands.
    pub(crate) fn read(unit: &str, files: &[String]) -> Result<Self, ChangeError> {
        let mut install = Self::default();
        for file in files {
            for (setting, value) in settings(file) {
                for word in value.split_whitespace() {
                    install.take(unit, setting, word)?;
                }
            }
        }
        install.links.sort();
        install.links.dedup();
        Ok(install)
    }

    fn take(&mut self, unit: &str, setting: &str, word: &str) -> Result<(), ChangeError> {
        let folder = match setting {
            "WantedBy" => ".wants",
            "RequiredBy" => ".requires",
            "UpheldBy" => ".upholds",
            "Alias" | "Also" => "",
            _ => return Ok(()),
        };
        let name = expand(unit, word)?;
        if self.links.len() >= MOST_VALUES || self.also.len() >= MOST_VALUES {
            return Err(ChangeError::refused(format!(
                "[Install] of {unit} has more than {MOST_VALUES} values"
            )));
        }
        if crate::systemd::unit_name::normalise("unit", &name).ok().as_ref() != Some(&name) {
            return Err(ChangeError::refused(format!(
                "[Install] of {unit} says {setting}={word}, which is no whole name of a unit; use systemctl for it"
            )));
        }
        match setting {
            "Also" => self.also.push(name),
            // A unit's own name as its alias says nothing.
            "Alias" if name == unit => {}
            "Alias" => self.links.push(name),
            _ => self.links.push(format!("{name}{folder}/{unit}")),
        }
        Ok(())
    }
}

/// The settings of `[Install]`, in order. Lines that end in a backslash go on (systemd.syntax(7)).
fn settings(file: &str) -> impl Iterator<Item = (&str, String)> {
    let mut lines = file.lines();
    let mut in_install = false;
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?.trim();
            if line.starts_with('#') || line.starts_with(';') || line.is_empty() {
                continue;
            }
            if line.starts_with('[') {
                in_install = line == "[Install]";
                continue;
            }
            let Some((setting, first)) = line.split_once('=') else { continue };
            let mut value = first.trim().to_owned();
            while let Some(begun) = value.strip_suffix('\\') {
                let mut next = lines.next();
                while next.is_some_and(|next| next.trim_start().starts_with(['#', ';'])) {
                    next = lines.next();
                }
                value = format!("{begun} {}", next.unwrap_or_default().trim());
            }
            if in_install {
                return Some((setting.trim(), value));
            }
        }
    })
}

/// Puts in what `%` stands for: the unit's own name and its parts.
fn expand(unit: &str, word: &str) -> Result<String, ChangeError> {
    let without_suffix = unit.rsplit_once('.').map_or(unit, |(name, _)| name);
    let (prefix, instance) = without_suffix.split_once('@').unwrap_or((without_suffix, ""));
    let mut expanded = String::with_capacity(word.len());
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            expanded.push(character);
            continue;
        }
        expanded.push_str(match characters.next() {
            Some('n') => unit,
            Some('N') => without_suffix,
            Some('p') => prefix,
            Some('i') => instance,
            Some('j') => prefix.rsplit('-').next().unwrap_or(prefix),
            Some('%') => "%",
            _ => {
                return Err(ChangeError::refused(format!(
                    "[Install] of {unit} says {word}, which only systemctl understands; enable or disable it there"
                )));
            }
        });
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(unit: &str, file: &str) -> Install {
        Install::read(unit, &[file.to_owned()]).unwrap()
    }

    #[test]
    fn each_setting_makes_its_link() {
        let install = read(
            "a.service",
            "[Unit]\nWantedBy=wrong.target\n[Install]\nWantedBy=multi-user.target \\\n  graphical.target\n# WantedBy=no.target\nRequiredBy = b.service\nAlias=c.service\nAlso=a.socket\n[Service]\nAlias=d.service\n",
        );
        assert_eq!(
            install.links,
            [
                "b.service.requires/a.service",
                "c.service",
                "graphical.target.wants/a.service",
                "multi-user.target.wants/a.service"
            ]
        );
        assert_eq!(install.also, ["a.socket"]);
    }

    #[test]
    fn an_instance_stands_for_its_parts() {
        let install = read("getty@tty1.service", "[Install]\nWantedBy=x-%i.target\nAlias=%p-%i.service\n");
        assert_eq!(install.links, ["getty-tty1.service", "x-tty1.target.wants/getty@tty1.service"]);
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        for bad in ["WantedBy=../x", "Alias=a/b.service", "WantedBy=%H.target", "Also=-x"] {
            assert!(Install::read("a.service", &[format!("[Install]\n{bad}\n")]).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_panic(text in "(\\[Install\\]|WantedBy=|\\\\|%|=|\\n|\\PC){0,60}") {
            if let Ok(install) = Install::read("a.service", &[text]) {
                for link in install.links {
                    prop_assert!(!link.contains("..") || !link.split('/').any(|part| part == ".."));
                    prop_assert!(!link.starts_with('/'));
                }
            }
        }
    }
}
