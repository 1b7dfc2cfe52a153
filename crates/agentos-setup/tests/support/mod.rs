//! Small projects with archives made here, a folder laid out as a registry, and a server on loopback that serves it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA512, digest};
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// One entry of an archive, written as it is said, sane or not.
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
    pub(crate) link: Vec<u8>,
}

impl Entry {
    pub(crate) fn file(path: &str, content: &[u8]) -> Self {
        let mode = if content.starts_with(b"#!") { 0o775 } else { 0o664 };
        Self {
            path: path.into(),
            kind: EntryType::Regular,
            mode,
            content: content.to_vec(),
            link: Vec::new(),
        }
    }

    pub(crate) fn of(kind: EntryType, path: &str, link: &str) -> Self {
        Self { path: path.into(), kind, mode: 0o777, content: Vec::new(), link: link.into() }
    }
}

/// A gzipped tar of just these entries.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    for entry in entries {
        let mut header = Header::new_ustar();
        // Not through the crate's own setters, which refuse what is to be tested.
        let raw = header.as_old_mut();
        raw.name[..entry.path.len()].copy_from_slice(&entry.path);
        raw.linkname[..entry.link.len()].copy_from_slice(&entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        zipped.write_all(header.as_bytes()).unwrap();
        zipped.write_all(&entry.content).unwrap();
        let padding = entry.content.len().next_multiple_of(512) - entry.content.len();
        zipped.write_all(&vec![0; padding]).unwrap();
    }
    zipped.write_all(&[0; 1024]).unwrap();
    zipped.finish().unwrap()
}

pub(crate) fn integrity(content: &[u8]) -> String {
    format!("sha512-{}", STANDARD.encode(digest(&SHA512, content)))
}

/// A project with a lock file, and a mirror with its archives.
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    pub(crate) mirror: PathBuf,
    packages: BTreeMap<String, Value>,
    wanted: Value,
}

impl Project {
    /// An empty one, its files in `folder`.
    pub(crate) fn empty(folder: &Path) -> Self {
        let project = Self {
            folder: folder.join("project"),
            mirror: folder.join("mirror"),
            packages: BTreeMap::new(),
            wanted: json!({}),
        };
        fs::create_dir_all(&project.folder).unwrap();
        fs::create_dir_all(&project.mirror).unwrap();
        project
    }

    /// One that looks like ours: a Node.js, an OpenClaw with a package inside of it, one inside of another, some that stand
    /// in two places or are for other machines.
    pub(crate) fn like_ours(folder: &Path) -> Self {
        let mut project = Self::empty(folder);
        project.add(
            "node_modules/node-linux-test",
            "1.0.0",
            &[Entry::file("package/bin/node", b"#!/bin/sh\n")],
            &json!({ "bin": { "node": "bin/node" } }),
        );
        project.add(
            "node_modules/openclaw",
            "2.0.0",
            &[
                Entry::of(EntryType::Directory, "package/", ""),
                Entry::file("package/openclaw.mjs", b"console.log(1)"),
                Entry::file("package/.openclaw-lifecycle-pending", b"pending\n"),
                Entry::file("package/dist/postinstall-inventory.json", br#"["dist/a.js"]"#),
                Entry::file("package/dist/a.js", b"a"),
                Entry::file("package/node_modules/inner/package.json", b"{}"),
                Entry::file("package/node_modules/inner/tool.js", b"x"),
            ],
            &json!({ "bin": { "openclaw": "./openclaw.mjs" } }),
        );
        project.entry(
            "node_modules/openclaw/node_modules/inner",
            json!({ "version": "1.0.0", "inBundle": true, "bin": { "inner": "tool.js" } }),
        );
        project.add(
            "node_modules/@scope/a",
            "1.0.0",
            &[Entry::file("package/package.json", b"{}")],
            &json!({}),
        );
        project.add(
            "node_modules/@scope/a/node_modules/b",
            "1.0.0",
            &[Entry::file("other/index.js", b"b")],
            &json!({}),
        );
        project.add(
            "node_modules/c/node_modules/b",
            "1.0.0",
            &[Entry::file("other/index.js", b"b")],
            &json!({}),
        );
        project.add("node_modules/c", "3.1.4-rc.1+x", &[Entry::file("package/index.js", b"c")], &json!({}));
        project.add(
            "node_modules/mac",
            "1.0.0",
            &[Entry::file("package/x", b"x")],
            &json!({ "os": ["darwin"], "optional": true }),
        );
        project.want(&["openclaw", "node-linux-test"]);
        project
    }

    pub(crate) fn want(&mut self, names: &[&str]) {
        self.wanted = names.iter().map(|name| ((*name).to_owned(), json!("1"))).collect();
        self.save();
    }

    /// Adds a package at `path` with its archive.
    pub(crate) fn add(&mut self, path: &str, version: &str, entries: &[Entry], more: &Value) {
        let content = archive(entries);
        let mut entry = json!({ "version": version, "integrity": integrity(&content) });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        let name = path.rsplit("node_modules/").next().unwrap();
        let file = self.archive(name, version);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self.entry(path, entry);
    }

    pub(crate) fn entry(&mut self, path: &str, entry: Value) {
        self.packages.insert(path.to_owned(), entry);
        self.save();
    }

    /// Where the mirror has an archive.
    pub(crate) fn archive(&self, name: &str, version: &str) -> PathBuf {
        let last = name.rsplit('/').next().unwrap();
        self.mirror.join(format!("{name}/-/{last}-{version}.tgz"))
    }

    pub(crate) fn address(&self) -> String {
        format!("file://{}", self.mirror.display())
    }

    fn save(&self) {
        let mut packages = self.packages.clone();
        packages.insert(String::new(), json!({ "dependencies": self.wanted }));
        let lock = json!({ "lockfileVersion": 3, "packages": packages });
        fs::write(self.folder.join("package.json"), "{}").unwrap();
        fs::write(self.folder.join("package-lock.json"), lock.to_string()).unwrap();
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Whole,
    /// The half of the file, with the length of all of it.
    Half,
    Status(u16),
    Redirect(String),
    /// The file after so long.
    After(Duration),
}

/// A server on loopback that serves a folder.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `folder`; `decide` is asked about each path and how often it was asked for before.
    pub(crate) fn start(
        folder: &Path,
        decide: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, folder, decide) = (requests.clone(), folder.to_owned(), Arc::new(decide));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, folder, decide) = (seen.clone(), folder.clone(), decide.clone());
                thread::spawn(move || serve(stream.unwrap(), &folder, &seen, &*decide));
            }
        });
        Self { port, requests }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The paths that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    folder: &Path,
    seen: &Mutex<Vec<String>>,
    decide: &(dyn Fn(&str, usize) -> Answer + Send + Sync),
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|known| **known == path).count();
        seen.push(path.clone());
        before
    };
    let content = fs::read(folder.join(&path[1..])).unwrap_or_default();
    let answer = decide(&path, before);
    let (status, more) = match &answer {
        Answer::Status(status) => (*status, String::new()),
        Answer::Redirect(to) => (302, format!("Location: {to}\r\n")),
        _ => (200, String::new()),
    };
    if let Answer::After(time) = answer {
        thread::sleep(time);
    }
    let body = match answer {
        Answer::Status(_) | Answer::Redirect(_) => &[][..],
        Answer::Half => &content[..content.len() / 2],
        _ => &content[..],
    };
    let length = if matches!(answer, Answer::Half) { content.len() } else { body.len() };
    // A client that went away is what some tests are about.
    let _ =
        write!(stream, "HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(body);
}
