//! The few header fields that tell ESP from the rest; the only raw pointers.

use aya_ebpf::programs::XdpContext;

const ETH_LEN: usize = 14;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const ESP: u8 = 50;
/// RFC 3948.
const NAT_PORT: u16 = 4500;
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

pub struct Packet {
    start: usize,
    end: usize,
}

/// Whom an ESP packet is for, in network order.
pub enum Target {
    V4(u32),
    V6([u32; 4]),
}

impl Packet {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        // SAFETY: the context is valid for the whole run of the program.
        let (start, end) = unsafe { ((*ctx.ctx).data as usize, (*ctx.ctx).data_end as usize) };
        Self { start, end }
    }

    /// The value at `at`, as it stands there, if it is there. BPF allows any alignment.
    #[inline(always)]
    fn get<T: Copy>(&self, at: usize) -> Option<T> {
        let pointer = self.start + at;
        if pointer + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: in bounds by the comparison above, and `T` is an integer or an array of them.
        Some(unsafe { *(pointer as *const T) })
    }

    /// The destination of an unfragmented ESP packet, bare or in UDP.
    #[inline(always)]
    pub fn esp_to(&self) -> Option<Target> {
        match u16::from_be(self.get(12)?) {
            ETH_P_IP => {
                let version: u8 = self.get(ETH_LEN)?;
                let fragment = u16::from_be(self.get(ETH_LEN + 6)?);
                // Options are rare, and the kernel knows them all.
                if version != 0x45 || fragment & FRAGMENT != 0 {
                    return None;
                }
                self.is_esp(self.get(ETH_LEN + 9)?, ETH_LEN + 20)?;
                Some(Target::V4(self.get(ETH_LEN + 16)?))
            }
            ETH_P_IPV6 => {
                self.is_esp(self.get(ETH_LEN + 6)?, ETH_LEN + 40)?;
                Some(Target::V6(self.get(ETH_LEN + 24)?))
            }
            _ => None,
        }
    }

    /// RFC 3948, section 2: four zero bytes after the UDP header are IKE, one byte is a keepalive.
    #[inline(always)]
    fn is_esp(&self, protocol: u8, at: usize) -> Option<()> {
        let esp = match protocol {
            ESP => true,
            UDP => {
                let port = u16::from_be(self.get(at + 2)?);
                let length = u16::from_be(self.get(at + 4)?);
                let spi: u32 = self.get(at + 8)?;
                port == NAT_PORT && length >= 12 && spi != 0
            }
            _ => false,
        };
        esp.then_some(())
    }
}
