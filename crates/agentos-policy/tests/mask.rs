//! What is masked, wherever it stands; and what is not, because it is no secret.

use agentos_policy::mask;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A text with a secret in it, and the part of it that must not be left. Made of pieces, so that no scanner of source
/// takes these for real ones.
fn secrets() -> Vec<(String, String)> {
    let random = "Zk3qT9vR2mX7cL1bN8wY5uH4";
    let long = "Zk3qT9vR2mX7cL1bN8wY5uH4aP6sD0fG9jK2";
    let hex = "4f1c9a7be2d84f0c9a7be2d84f1c9a7be2d84f0c9a7be2d84f1c9a7be2d84f0c";
    let pem = |kind: &str| {
        format!("-----BEGIN {kind}PRIVATE KEY-----\n{long}\n{random}==\n-----END {kind}PRIVATE KEY-----\n")
    };
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.{random}");
    let all: Vec<(String, &str)> = vec![
        (pem(""), random),
        (pem("RSA "), long),
        (pem("OPENSSH "), long),
        (pem("EC "), long),
        (
            format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{long}\n-----END PGP PRIVATE KEY BLOCK-----"),
            long,
        ),
        (format!("-----BEGIN PRIVATE KEY-----\n{long}\n{long}"), long),
        (format!("{long}\n{long}\n-----END RSA PRIVATE KEY-----\n"), long),
        (
            format!(
                "{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{long}\\n-----END PRIVATE KEY-----\\n\"}}"
            ),
            long,
        ),
        ("AKIAZ2J4QWERTYUI23AB".to_owned(), "Z2J4QWERTYUI23AB"),
        (format!("aws_secret_access_key = {long}+/x"), long),
        (format!("token ghp_{long} was used"), long),
        (format!("github_pat_{random}_{long}"), long),
        (format!("remote: glpat-{random}"), random),
        (format!("xoxb-1234567890-{random}"), random),
        (format!("https://hooks.slack.com/services/T0001/B0001/{random}"), random),
        (format!("sk_live_{random}"), random),
        (format!("rk_test_{random}"), random),
        (format!("whsec_{random}"), random),
        (format!("sk-ant-api03-{long}"), long),
        (format!("sk-proj-{long}"), long),
        (format!("npm_{long}"), long),
        (format!("//registry.example/:_authToken={random}"), random),
        (format!("hf_{long}"), long),
        (format!("AIza{}", &long[..35]), &long[..35]),
        (format!("got {jwt} from it"), random),
        (format!("Authorization: Bearer {random}"), random),
        ("Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l".to_owned(), "YWxhZGRpbjpvcGVuc2VzYW1l"),
        (format!("curl -H 'X-API-Key: {random}' http://x"), random),
        ("Cookie: session=abc123def; theme=dark".to_owned(), "abc123def"),
        ("DB_PASSWORD=hunter2".to_owned(), "hunter2"),
        ("password: hunter2".to_owned(), "hunter2"),
        ("password: correcthorse\nuser: x".to_owned(), "correcthorse"),
        ("\"password\": \"correct horse\"".to_owned(), "correct horse"),
        ("{\\\"password\\\":\\\"hunter2\\\"}".to_owned(), "hunter2"),
        ("passwd = 'hunter2'".to_owned(), "hunter2"),
        ("secret=swordfish".to_owned(), "swordfish"),
        ("SMTP_PASS=hunter2".to_owned(), "hunter2"),
        ("export PGPASSWORD=hunter2".to_owned(), "hunter2"),
        ("clientSecret: \"swordfish\"".to_owned(), "swordfish"),
        (format!("api_key={random}"), random),
        (format!("apiKey: {random}"), random),
        (format!("token: {random}"), random),
        (format!("PrivateKey = {random}="), random),
        (format!("private_key = 0x{hex}"), hex),
        (format!("encryption_key: {hex}"), hex),
        ("wpa psk=\"correct horse\"".to_owned(), "correct horse"),
        ("Server=db;Password=hunter2;Database=x".to_owned(), "hunter2"),
        ("<password>hunter2</password>".to_owned(), "hunter2"),
        ("config['password'] = 'hunter2'".to_owned(), "hunter2"),
        ("postgres://app:hunter2@db/app".to_owned(), "hunter2"),
        ("redis://:hunter2@localhost:6379".to_owned(), "hunter2"),
        ("https://user:p@ssw0rd@host/x".to_owned(), "p@ssw0rd"),
        (format!("https://{random}@github.com/x/y"), random),
        ("https://x/cb?a=1&access_token=hunter2x&b=2".to_owned(), "hunter2x"),
        ("tool --password hunter2 --verbose".to_owned(), "hunter2"),
        ("tool --password=hunter2".to_owned(), "hunter2"),
        ("tool -token hunter2".to_owned(), "hunter2"),
        ("tool --api-key 'hunter2'".to_owned(), "hunter2"),
        ("['tool', '--password', 'hunter2']".to_owned(), "hunter2"),
        ("mysql -u root -phunter2 app".to_owned(), "hunter2"),
        ("/usr/bin/mysqldump --all -phunter2".to_owned(), "hunter2"),
        ("sshpass -p hunter2 ssh host".to_owned(), "hunter2"),
        ("curl -s -u admin:hunter2 http://x".to_owned(), "hunter2"),
        ("machine x.example login me password hunter2".to_owned(), "hunter2"),
        ("tool\0--password\0hunter2\0".to_owned(), "hunter2"),
        (format!("root:$6$abcdefgh${long}{long}:19000:0:99999:7:::"), long),
        (format!("root:$y$j9T$abcdefgh${long}:19000::"), long),
        (format!("AGE-SECRET-KEY-1{}", "Q".repeat(58)), "QQQQ"),
        (format!("12345678:AA{}", &long[..33]), &long[..33]),
    ];
    all.into_iter().map(|(text, secret)| (text, secret.to_owned())).collect()
}

/// Output of real machines in which nothing is a secret, though much of it is random or speaks of secrets.
const HARMLESS: &str = r#"
Nov 25 06:10:36 host sshd[812]: Accepted publickey for root from 10.0.0.2 port 51344 ssh2: ED25519 SHA256:kXo2xWvY1P4Zg7o0y2Jm3mF9n5b8Qp1rT6uVwXyZaBc
Nov 25 06:10:36 host sshd[812]: pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)
Nov 25 06:10:37 host sshd[813]: Failed password for invalid user admin from 10.0.0.2 port 51346 ssh2
Nov 25 06:10:37 host sshd[813]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.2
Nov 25 06:10:38 host sudo[900]: pam_unix(sudo:auth): conversation failed; password: authentication failed
Nov 25 06:10:38 host systemd[1]: Started systemd-ask-password-wall.path - Forward Password Requests to Wall Directory Watch.
Nov 25 06:10:38 host gdm-password]: gkr-pam: unable to locate daemon control file
Nov 25 06:10:39 host app[77]: Invalid token: unexpected end of input
Nov 25 06:10:39 host app[77]: token: expected, got EOF; token=0 tokens=4096 max_tokens: 200000
Nov 25 06:10:39 host app[77]: using password: YES, password=no
Nov 25 06:10:40 host kernel: Command line: BOOT_IMAGE=/boot/vmlinuz root=UUID=5c1f2c9e-7a0b-4d3e-9f8a-1b2c3d4e5f60 ro quiet
Nov 25 06:10:40 host kernel: audit: type=1400 apparmor="STATUS" profile="unconfined" name="/usr/bin/man" key=(null)
Nov 25 06:10:41 host dockerd[5]: loaded image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
ii  libsecret-1-0:amd64   0.21.7-1     amd64  Secret store
ii  passwd                1:4.17.4-2   amd64  change and administer password and group data
ii  libpam-passwdqc:amd64 2.0.3-1      amd64  PAM module for password strength policy enforcement
ii  python3-secretstorage 3.3.3-3      all    Python module for storing secrets
passwd:         files systemd
shadow:         files systemd
root:x:0:0:root:/root:/bin/bash
PasswordAuthentication no
PermitEmptyPasswords no
#PasswordAuthentication yes
password	requisite	pam_pwquality.so retry=3
password	[success=1 default=ignore]	pam_unix.so obscure yescrypt
PasswordAuthentication=no
ImportCredential=agetty.*
LoadCredential=key:/etc/credstore/key
SecureBits=keep-caps KeyringMode=private
password_file = /run/secrets/db
POSTGRES_PASSWORD_FILE=/run/secrets/db-password
token_type=bearer expires_in=3600 token_url=https://login.example/token
PASSWORD=$DB_PASSWORD TOKEN=${TOKEN} SECRET=<your secret here> password=******
let token = lexer.next_token(); let secret = config.secret; password = os.environ["DB_PASSWORD"]
use --password to name it; --token TOKEN the token; the option --password is not safe
/nix/store/0z9x8c7v6b5n4m3l2k1j0h9g8f7d6s5a-libsecret-0.21.4/lib/libsecret-1.so.0
/nix/store/1a2s3d4f5g6h7j8k9l0z1x2c3v4b5n6m-hello-2.12.1
"integrity": "sha512-Zk3qT9vR2mX7cL1bN8wY5uH4aP6sD0fG9jK2Zk3qT9vR2mX7cL1bN8wY5uH4aP6sD0fG9jK2Zk3qT9vR2mX7cL1bN8==",
9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  ./usr/share/doc/passwd/copyright
commit 4f1c9a7be2d84f0c9a7be2d84f1c9a7be2d84f0c
550e8400-e29b-41d4-a716-446655440000
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Zk3qT9vR2mX7cL1bN8wY5uH4aP6sD0fG9jK2 root@host
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0Zk3qT9vR2mX7cL1bN8w
-----END PUBLIC KEY-----
-----BEGIN CERTIFICATE-----
MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ
-----END CERTIFICATE-----
https://deb.debian.org/debian http://[::1]:8080/ postgres://db/app ssh://git@github.com/x/y
Asia/Tokyo task-worker-2026-11-25-very-long disk-by-id-wwn-0x5000c500 risk-assessment-tool-2024
http://user@example.org/ mailto:someone@example.org time 12:34:56@host
mysql-server mysql-persistent mariadb --port=3306 -P3306 curl -u https://x
public_key_token=b77a5c561934e089 public-key: 4f1c9a7be2d84f0c9a7be2d84f1c9a7b
Nov 25 06:11:02 host CRON[1211]: (root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily)
"#;

#[test]
fn each_secret_is_masked_wherever_it_stands() {
    for (text, secret) in secrets() {
        for whole in [text.clone(), format!("before\n{text}\nafter"), format!("ü {text}")] {
            let (masked, count) = mask::text(whole.as_bytes());
            let masked = String::from_utf8(masked.into_owned()).unwrap();
            assert!(count > 0 && !masked.contains(&secret), "{whole:?} became {masked:?}");
            assert!(masked.contains("[masked: "), "{masked}");
            let answer = json!({ "a": [1, { "content": whole, "b": true }], "next": null });
            let (bytes, count) = mask::json(serde_json::to_vec(&answer).unwrap());
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(
                count > 0 && !String::from_utf8(bytes).unwrap().contains(&secret),
                "{answer} became {back}"
            );
            assert_eq!(back["a"][1]["content"], masked);
        }
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    for line in HARMLESS.lines() {
        let (masked, count) = mask::text(line.as_bytes());
        assert_eq!((String::from_utf8_lossy(&masked).as_ref(), count), (line, 0));
    }
    let (masked, count) = mask::text(HARMLESS.as_bytes());
    assert_eq!((String::from_utf8_lossy(&masked).as_ref(), count), (HARMLESS, 0));
}

/// Lists and figures of the machine that runs the test: whatever it is, it has no secrets in these.
#[test]
fn what_this_machine_says_of_itself_stays_as_it_is() {
    let mut seen = 0;
    for path in [
        "/var/lib/dpkg/status",
        "/proc/meminfo",
        "/proc/mounts",
        "/proc/modules",
        "/proc/interrupts",
        "/proc/version",
        "/proc/net/tcp",
        "/proc/net/unix",
        "/etc/passwd",
        "/etc/nsswitch.conf",
        "/etc/login.defs",
        "/etc/services",
        "/etc/ssh/sshd_config",
        "/etc/pam.d/common-password",
        "/etc/os-release",
        "/var/log/dpkg.log",
        "/var/lib/dpkg/info/passwd.md5sums",
        "/var/lib/dpkg/info/bash.md5sums",
        "/etc/ssl/certs/ca-certificates.crt",
    ] {
        let Ok(text) = std::fs::read(path) else { continue };
        seen += 1;
        for line in text.split(|&byte| byte == b'\n') {
            let (masked, _) = mask::text(line);
            assert_eq!(String::from_utf8_lossy(&masked), String::from_utf8_lossy(line), "{path}");
        }
    }
    assert!(seen > 5, "only {seen} of the files are here");
}

fn masked_arguments(arguments: &[&str]) -> Vec<String> {
    let answer = json!({ "name": "x", "arguments": arguments, "executable": "/usr/bin/x" });
    let (bytes, _) = mask::json(serde_json::to_vec(&answer).unwrap());
    serde_json::from_value(serde_json::from_slice::<Value>(&bytes).unwrap()["arguments"].take()).unwrap()
}

#[test]
fn the_argument_after_an_option_is_masked() {
    let password = "[masked: password]";
    assert_eq!(
        masked_arguments(&["tool", "--password", "hunter2", "-v"]),
        ["tool", "--password", password, "-v"]
    );
    assert_eq!(masked_arguments(&["tool", "--token", "abc"])[2], "[masked: token]");
    assert_eq!(masked_arguments(&["/bin/mysql", "-u", "root", "-phunter2"])[3], format!("-p{password}"));
    assert_eq!(masked_arguments(&["sshpass", "-p", "hunter2", "ssh"])[2], password);
    assert_eq!(masked_arguments(&["curl", "-u", "me:hunter2", "http://x"])[2], format!("me:{password}"));
    assert_eq!(
        masked_arguments(&["sh", "-c", "tool --password hunter2"])[2],
        format!("tool --password {password}")
    );
    for same in [
        &["tool", "--password", "--verbose"][..],
        &["tool", "--password-file", "/run/secrets/x"],
        &["mkdir", "-p", "a", "-pb"],
        &["curl", "-u", "me", "http://x:80"],
        &["tool", "--password"],
    ] {
        assert_eq!(masked_arguments(same), same);
    }
}

#[test]
fn a_value_is_masked_by_the_name_beside_it() {
    let answer = json!([{ "name": "DB_PASSWORD", "value": "hunter2" }, { "name": "HOME", "value": "/root" }]);
    let (bytes, count) = mask::json(serde_json::to_vec(&answer).unwrap());
    let back: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (count, &back[0]["value"], &back[1]["value"]),
        (1, &json!("[masked: password]"), &json!("/root"))
    );
}

#[test]
fn a_part_of_a_text_shows_nothing_of_a_secret_that_begins_before_it() {
    let text = b"user: x\npassword: hunter2000\nend";
    let secrets = mask::find(text);
    for start in 0..text.len() {
        for end in start..=text.len() {
            let part = mask::replace(text, start..end, &secrets);
            let part = String::from_utf8_lossy(&part);
            assert!(
                !["hunter", "nter2", "2000"].iter().any(|piece| part.contains(piece)),
                "{start}..{end}: {part}"
            );
        }
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let all: Vec<String> = secrets().into_iter().map(|(text, _)| text).collect();
    let lines: Vec<String> = HARMLESS.lines().map(str::to_owned).collect();
    let piece = prop_oneof![
        proptest::sample::select(all),
        proptest::sample::select(lines),
        "[ -~]{0,12}",
        "\\PC{0,8}",
        proptest::sample::select(vec![
            "password",
            "=",
            ":",
            " ",
            "\"",
            "'",
            "\n",
            "token",
            "@",
            "://",
            "[masked: ",
            "]",
            "--",
            "-p",
            "\\"
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn masking_twice_is_masking_once_and_does_not_blow_up(text in pieces()) {
        let (once, _) = mask::text(text.as_bytes());
        let (twice, again) = mask::text(&once);
        prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once), "{}", again);
        prop_assert!(once.len() <= 6 * text.len() + 32, "{} became {}", text.len(), once.len());
        prop_assert!(std::str::from_utf8(&once).is_ok());
    }

    #[test]
    fn json_stays_json_with_the_same_shape(texts in proptest::collection::vec(pieces(), 0..4), number: i64) {
        let answer = json!({ "list": texts, "number": number, "deep": { "name": texts.first(), "value": texts.last() } });
        let (bytes, _) = mask::json(serde_json::to_vec(&answer).unwrap());
        let back: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(back["list"].as_array().map(Vec::len), Some(texts.len()));
        prop_assert_eq!(&back["number"], &json!(number));
    }

    #[test]
    fn any_bytes_are_taken(bytes: Vec<u8>) {
        let _ = mask::text(&bytes);
        let _ = mask::json(bytes);
    }
}
