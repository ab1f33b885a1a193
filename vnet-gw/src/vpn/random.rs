//! Randomness of the system.

use std::io;

use vnet_gw_core::ike::Random;

/// `getrandom(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: the buffer is live and as long as is said.
            let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(got) {
                Ok(got) => rest = rest.get_mut(got..).unwrap_or_default(),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        // Keys that can be guessed are worse than no daemon. It happens on kernels
                        // without the call only, and those do not run the programs either.
                        log::error!("getrandom: {error}: no randomness, no keys; ending");
                        std::process::abort();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_filled() {
        let mut bytes = [0; 4096];
        SystemRandom.fill(&mut bytes);
        // That any of these were zero by chance has a probability below 2^-100.
        assert!(
            bytes
                .chunks(16)
                .all(|part| part.iter().any(|byte| *byte != 0))
        );
    }
}
