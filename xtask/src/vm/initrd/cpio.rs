//! The archive format that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst), as much of
//! it as is needed here.

const DIRECTORY: usize = 0o040_755;
const REGULAR: usize = 0o100_000;
const LINK: usize = 0o120_777;

/// An archive that grows.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    /// Adds a directory; what is in it comes after it.
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, b"");
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, mode: usize, content: &[u8]) {
        self.entry(path, REGULAR | mode, content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK, target.as_bytes());
    }

    /// The whole.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: usize, content: &[u8]) {
        self.entries += 1;
        self.bytes.extend_from_slice(b"070701");
        let mut field = |number: usize| self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        field(self.entries);
        field(mode);
        // User, group, links, time.
        [0, 0, 1, 0].into_iter().for_each(&mut field);
        field(content.len());
        // The device it is on and the device it is, two numbers each.
        [0; 4].into_iter().for_each(&mut field);
        field(path.len() + 1);
        // A checksum that this kind of archive does not have.
        field(0);
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.file("a", 0o644, b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("07070100000001000081a4"), "{text}");
        // A header of 110 bytes, the name and its end, then the content at a multiple of four.
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..120], b"hello\0\0\0");
        assert_eq!(&bytes[120..126], b"070701");
        assert!(text.contains("TRAILER!!!"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
