//! Files that would take memory or time, and files that are something else.

use std::time::{Duration, Instant};

use super::*;

fn refused(file: &str) -> NetcfgError {
    let begin = Instant::now();
    let error = import(file.as_bytes(), None).unwrap_err();
    // Unoptimised, on a busy machine: it is about quadratic time and worse.
    assert!(begin.elapsed() < Duration::from_secs(20), "{error}");
    error
}

fn root(inside: &str) -> String {
    format!(
        "<NetworkConfiguration xmlns='{}'>{inside}</NetworkConfiguration>",
        read::NAMESPACE
    )
}

#[test]
fn entities() {
    let mut laughs = String::from("<!DOCTYPE lolz [<!ENTITY lol0 \"lol\">");
    for n in 1..12 {
        let ten = format!("&lol{};", n - 1).repeat(10);
        laughs.push_str(&format!("<!ENTITY lol{n} \"{ten}\">"));
    }
    laughs.push_str("]>");
    laughs.push_str(&root("&lol11;"));
    let file = "<!DOCTYPE r [<!ENTITY passwords SYSTEM \"file:///etc/passwd\">]>";
    for text in [
        laughs,
        format!("{file}{}", root("&passwords;")),
        root("&unknown;"),
    ] {
        assert!(matches!(refused(&text), NetcfgError::Xml(_)));
    }
}

#[test]
fn depth() {
    for n in [33, 200_000] {
        let deep = root(&format!("{}{}", "<a>".repeat(n), "</a>".repeat(n)));
        assert_eq!(refused(&deep), NetcfgError::TooDeep(1));
    }
    // With a namespace each, which are copied downwards, and without an end.
    let deep: String = (0..20_000)
        .map(|n| format!("\n<a xmlns:n{n}='{n}'>"))
        .collect();
    assert_eq!(refused(&root(&deep)), NetcfgError::TooDeep(33));
    // A comment is not deep.
    let comment = root(&format!("<!-- {} -->", "<a>".repeat(100)));
    assert!(import(comment.as_bytes(), None).is_ok());
}

#[test]
fn attributes() {
    let many: String = (0..50_000).map(|n| format!(" a{n}='>'")).collect();
    assert_eq!(
        refused(&root(&format!("\n<a{many}/>"))),
        NetcfgError::TooManyAttributes(2)
    );
}

#[test]
fn size_and_nodes() {
    let large = root(&" ".repeat(guard::MAX_BYTES));
    assert_eq!(refused(&large), NetcfgError::TooLarge(large.len()));
    let nodes = root(&"<a/>".repeat(300_000));
    assert!(matches!(refused(&nodes), NetcfgError::Xml(_)));
}

#[test]
fn many_findings_are_quick() {
    let begin = Instant::now();
    let nodes = root(&"\n<a/>".repeat(90_000));
    assert_eq!(imported(&nodes).findings.len(), 90_000);
    let site = |n: usize| {
        format!(
            "<LocalNetworkSite name='s{n}'><AddressSpace><AddressPrefix>10.{}.{}.0/24</AddressPrefix></AddressSpace></LocalNetworkSite>",
            n / 256,
            n % 256
        )
    };
    let sites: String = (0..5_000).map(site).collect();
    let file = format!(
        "<VirtualNetworkConfiguration><LocalNetworkSites>{sites}</LocalNetworkSites></VirtualNetworkConfiguration>"
    );
    assert_eq!(imported(&root(&file)).findings.len(), 5_000);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn something_else() {
    for text in [
        "",
        "{}",
        "<",
        "<a",
        "</a>",
        "<!--",
        "<NetworkConfiguration",
        "<a></b>",
        "\0",
    ] {
        assert!(matches!(refused(text), NetcfgError::Xml(_)), "{text}");
    }
    for text in [
        "<html/>",
        "<NetworkConfiguration/>",
        "<NetworkConfiguration xmlns='urn:other'/>",
    ] {
        let error = refused(text);
        assert!(matches!(error, NetcfgError::OtherRoot(_)), "{error}");
    }
}

/// Text of the file reaches names, descriptions and messages: none of it is an expression, and none
/// leaves its line.
#[test]
fn text_that_tries_to_be_something_else() {
    let file = COMPANY
        .replace("Group Production Main", "[concat('a')]'); //&#10;x&#9;[31m")
        .replace("D1BFC9CB_Head Office", "..");
    let import = imported(&file);
    assert_eq!(import.invalid, None);
    let name = import.template["resources"][0]["name"].as_str().unwrap();
    assert!(!name.contains(['[', '\'', '\n', '\t']), "{name}");
    for finding in &import.findings {
        assert!(
            !finding.to_string().contains(|c: char| c.is_control()),
            "{finding}"
        );
    }
}

/// Files that somebody broke: whatever comes of it, no panic, and what is deployable stays so.
#[test]
fn broken_at_random() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % most as u64).unwrap()
    };
    let mut read = 0;
    for turn in 0..600 {
        let file = if turn % 2 == 0 { COMPANY } else { VNET_TO_VNET };
        let mut lines: Vec<&str> = file.lines().collect();
        for _ in 0..=below(5) {
            // Elements that are one line: the file stays well-formed.
            let whole = |line: &str| {
                let line = line.trim();
                line.starts_with('<')
                    && !line.starts_with("</")
                    && line.len() > 2
                    && (line.ends_with("/>") || line.contains("</"))
            };
            let leaves: Vec<usize> = (0..lines.len()).filter(|at| whole(lines[*at])).collect();
            let (from, to) = (leaves[below(leaves.len())], leaves[below(leaves.len())]);
            match below(4) {
                0 => drop(lines.remove(from)),
                1 => lines.insert(to, lines[from]),
                2 => lines.swap(from, to),
                _ => lines[to] = lines[from],
            }
        }
        let mut bytes = lines.join("\n").into_bytes();
        if turn % 5 == 0 {
            let at = below(bytes.len());
            bytes[at] = u8::try_from(below(256)).unwrap();
        }
        read += usize::from(import(&bytes, None).is_ok());
    }
    assert!(read > 100, "{read}");
}
