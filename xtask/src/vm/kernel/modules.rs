//! Which modules have to be loaded before which, as depmod(8) found out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

/// What each module needs.
pub(super) struct Dependencies<'a> {
    modules: BTreeMap<String, Needs<'a>>,
    /// Other names, each of one module or several.
    aliases: BTreeMap<String, Vec<String>>,
    built_in: BTreeSet<String>,
}

struct Needs<'a> {
    path: &'a str,
    names: Vec<String>,
}

/// The name of the module in `path`: `-` and `_` are the same in it, as they are for modprobe(8).
pub(super) fn name(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.split_once('.').map_or(file, |(name, _)| name).replace('-', "_")
}

impl<'a> Dependencies<'a> {
    /// Takes the lists of depmod: lines that do not look like theirs are passed over.
    pub(super) fn parse(dep: &'a str, softdep: &str, alias: &str, builtin: &str) -> Self {
        let mut modules = BTreeMap::new();
        for line in dep.lines() {
            if let Some((path, needs)) = line.split_once(':') {
                // The farthest dependency stands last.
                let names = needs.split_whitespace().rev().map(name).collect();
                modules.insert(name(path), Needs { path, names });
            }
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(module)) = (words.next(), words.next()) {
                let before =
                    words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
                if let Some(needs) = modules.get_mut(&name(module)) {
                    needs.names.extend(before.map(name));
                }
            }
        }
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in alias.lines() {
            if let ["alias", other, module] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
                aliases.entry(name(other)).or_default().push(name(module));
            }
        }
        Self { modules, aliases, built_in: builtin.lines().map(name).collect() }
    }

    /// The paths of `wanted` and of all that they need, each after what it needs. What is built in is left out.
    ///
    /// # Errors
    /// When there is no such module.
    pub(super) fn order(&self, wanted: &[&str]) -> Result<Vec<&'a str>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        let wanted: Vec<String> = wanted.iter().map(|module| name(module)).collect();
        for module in &wanted {
            if self.modules.contains_key(module) {
                self.add(module, &mut seen, &mut order);
            } else if !self.built_in.contains(module) {
                bail!("the kernel has no module {module}");
            }
        }
        Ok(order)
    }

    fn add<'b>(&'b self, module: &'b str, seen: &mut BTreeSet<&'b str>, order: &mut Vec<&'a str>) {
        if !seen.insert(module) {
            return;
        }
        if let Some(needs) = self.modules.get(module) {
            for needed in &needs.names {
                self.add(needed, seen, order);
            }
            order.push(needs.path);
        } else {
            // A soft dependency need not exist: it may be another name, also of something built in.
            for other in self.aliases.get(module).into_iter().flatten() {
                self.add(other, seen, order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEP: &str = "kernel/a/virtio-net.ko.xz: kernel/b/net_failover.ko.xz kernel/c/failover.ko.xz\n\
                       kernel/b/net_failover.ko.xz: kernel/c/failover.ko.xz\n\
                       kernel/c/failover.ko.xz:\n\
                       kernel/f/soft.ko:\nkernel/f/first.ko:\n";
    const ALIAS: &str = "# Aliases\nalias crypto-first first\nalias symbol:x soft\n";

    #[test]
    fn a_module_comes_after_what_it_needs() {
        let dependencies = Dependencies::parse(
            DEP,
            "softdep soft pre: crypto-first absent post: late\n",
            ALIAS,
            "kernel/x/ext4.ko\n",
        );
        let order = dependencies.order(&["virtio_net", "soft", "failover", "ext4"]).unwrap();
        let wanted =
            ["c/failover.ko.xz", "b/net_failover.ko.xz", "a/virtio-net.ko.xz", "f/first.ko", "f/soft.ko"];
        assert_eq!(order, wanted.map(|path| format!("kernel/{path}")));
    }

    #[test]
    fn a_module_that_is_not_there_is_an_error() {
        assert!(Dependencies::parse(DEP, "", "", "").order(&["ext4"]).is_err());
    }

    proptest! {
        #[test]
        fn each_module_comes_once_even_in_a_circle(lines in proptest::collection::vec(("[a-d]", "[a-d ]{0,6}"), 0..8)) {
            let lines: Vec<String> = lines.iter().map(|(module, needs)| format!("{module}: {needs}")).collect();
            let dep = lines.join("\n");
            let dependencies = Dependencies::parse(&dep, "", "", "a\nb\nc\nd\n");
            let order = dependencies.order(&["a", "b", "c", "d"]).unwrap();
            let once: BTreeSet<_> = order.iter().collect();
            prop_assert_eq!(once.len(), order.len());
        }

        #[test]
        fn no_list_makes_it_panic(dep: String, softdep: String, alias: String, builtin: String) {
            drop(Dependencies::parse(&dep, &softdep, &alias, &builtin).order(&["a"]));
        }
    }
}
