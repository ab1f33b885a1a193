//! Names of types in an object's BTF.
//!
//! The kernel takes C identifiers only and refuses the whole BTF for one `MaybeUninit<u8>`, and with
//! it every map. `bpf-linker` mends the names of structs, and not those of unions.

use anyhow::{Context, Result, ensure};

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// Replaces what the kernel does not take in the names of structs, unions and enums by `_`. The
/// object stays as long as it is.
pub(crate) fn make_names_valid(object: &mut [u8]) -> Result<()> {
    let Some(btf) = section(object, b".BTF")? else {
        return Ok(());
    };
    let header = btf.start;
    ensure!(
        u16_at(object, header)? == 0xeb9f,
        "the BTF does not begin with its magic number"
    );
    let length = u32_at(object, header + 4)?;
    let at = |field: usize| -> Result<usize> { Ok(header + length + u32_at(object, field)?) };
    let mut next = at(header + 8)?;
    let types_end = next + u32_at(object, header + 12)?;
    let strings = at(header + 16)?;
    let mut names = Vec::new();
    while next < types_end {
        let info = u32_at(object, next + 4)? as u32;
        let (kind, members) = (info >> 24 & 31, (info & 0xffff) as usize);
        if matches!(kind, KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64) {
            names.push(strings + u32_at(object, next)?);
        }
        next += 12
            + match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * members,
                KIND_ENUM | KIND_FUNC_PROTO => 8 * members,
                _ => 0,
            };
    }
    for name in names {
        let tail = object
            .get_mut(name..btf.end)
            .context("a name lies outside")?;
        for byte in tail.iter_mut().take_while(|byte| **byte != 0) {
            if !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b'.' {
                *byte = b'_';
            }
        }
    }
    Ok(())
}

/// Where a section of a little-endian ELF64 file is.
fn section(object: &[u8], name: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    ensure!(
        object.starts_with(b"\x7fELF\x02\x01"),
        "no little-endian ELF64 file"
    );
    let headers = u64_at(object, 0x28)?;
    let size = u16_at(object, 0x3a)?;
    let count = u16_at(object, 0x3c)?;
    let header = |index: usize| headers + index * size;
    let strings = u64_at(object, header(u16_at(object, 0x3e)?) + 0x18)?;
    for index in 0..count {
        let text = object.get(strings + u32_at(object, header(index))?..);
        let text = text.context("a section's name lies outside")?;
        if text.split(|byte| *byte == 0).next() == Some(name) {
            let start = u64_at(object, header(index) + 0x18)?;
            let end = start + u64_at(object, header(index) + 0x20)?;
            ensure!(end <= object.len(), "a section lies outside");
            return Ok(Some(start..end));
        }
    }
    Ok(None)
}

fn bytes<const N: usize>(object: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = object
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.with_context(|| format!("the file ends before byte {at}"))
}

fn u16_at(object: &[u8], at: usize) -> Result<usize> {
    Ok(u16::from_le_bytes(bytes(object, at)?).into())
}

fn u32_at(object: &[u8], at: usize) -> Result<usize> {
    Ok(u32::from_le_bytes(bytes(object, at)?) as usize)
}

fn u64_at(object: &[u8], at: usize) -> Result<usize> {
    usize::try_from(u64::from_le_bytes(bytes(object, at)?)).context("a number too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one section that holds a function prototype and a union.
    fn object(union_name: &[u8]) -> Vec<u8> {
        let mut types = Vec::new();
        for word in [
            0,
            KIND_FUNC_PROTO << 24 | 1,
            0,
            0,
            0,
            1,
            KIND_UNION << 24,
            8,
        ] {
            types.extend(word.to_le_bytes());
        }
        let strings = [b"\0", union_name, b"\0src/<main>.rs\0"].concat();
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len(), types.len(), strings.len()] {
            btf.extend((word as u32).to_le_bytes());
        }
        btf.extend(types);
        btf.extend(strings);
        let mut out = vec![0; 64];
        out[..6].copy_from_slice(b"\x7fELF\x02\x01");
        out[0x3a] = 64;
        out[0x3c] = 2;
        out[0x3e] = 1;
        let section = |name: u32, at: usize, size: usize| {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            header
        };
        let names = b"\0.BTF\0";
        let headers = 64 + btf.len() + names.len();
        out[0x28..0x30].copy_from_slice(&(headers as u64).to_le_bytes());
        let sections = [
            section(1, 64, btf.len()),
            section(0, 64 + btf.len(), names.len()),
        ]
        .concat();
        out.extend(btf);
        out.extend(names);
        out.extend(sections);
        out
    }

    #[test]
    fn only_names_of_types_change() {
        let mut mended = object(b"MaybeUninit<u8>");
        make_names_valid(&mut mended).unwrap();
        assert_eq!(mended, object(b"MaybeUninit_u8_"));
    }

    #[test]
    fn damaged_files_are_told() {
        let whole = object(b"a");
        for length in [0, 10, 60, 90, whole.len() - 128] {
            assert!(
                make_names_valid(&mut whole[..length].to_vec()).is_err(),
                "{length} bytes"
            );
        }
    }
}
