//! Programs of the bench: generators, receivers that count, a bare redirect as the ceiling, and the
//! lookups alone.
#![no_std]
#![no_main]

mod abi;
mod flows;
mod lookup;
mod random;
mod redirect;
mod traffic;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
