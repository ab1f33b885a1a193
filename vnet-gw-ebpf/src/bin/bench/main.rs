//! Programs of the bench: a generator, a receiver that counts, a bare redirect as the ceiling, and
//! the lookups alone.
#![no_std]
#![no_main]

mod abi;
mod lookup;
mod random;
mod redirect;
mod traffic;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
