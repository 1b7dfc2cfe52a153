//! What may stand in a lock file where a path or an address is made of it.

/// The name of the package at `path`: `node_modules/a/node_modules/@b/c` is `@b/c`.
pub(super) fn of_path(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("node_modules/")?;
    let names: Vec<&str> = inner.split("/node_modules/").collect();
    (path.len() <= 1024 && names.len() <= 32 && names.iter().all(|name| is_package(name)))
        .then(|| names.last().copied())
        .flatten()
}

/// Whether a registry could have a package of that name: `name` or `@scope/name`.
pub(super) fn is_package(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-', '_'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let bare = match name.strip_prefix('@') {
        Some(rest) => match rest.split_once('/') {
            Some((scope, bare)) if plain(scope) => bare,
            _ => return false,
        },
        None => name,
    };
    name.len() <= 214 && plain(bare) && bare != "node_modules"
}

/// Whether it is a version that can stand in a file's name.
pub(super) fn is_version(version: &str) -> bool {
    version.len() <= 256
        && version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte))
}

/// Whether a program may be called that.
pub(super) fn is_program(name: &str) -> bool {
    is_package(name) && !name.contains('/')
}

/// Whether `file` stays below the folder that it is relative to.
pub(super) fn is_file_below(file: &str) -> bool {
    !file.is_empty()
        && file.len() <= 1024
        && !file.contains(['\0', '\\'])
        && file.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
