//! What the tables need to know of a prefix, so that one algorithm serves both families.

use std::fmt::{Debug, Display};

use ipnet::{Ipv4Net, Ipv6Net};

/// An address as a number in host order.
pub trait Bits: Copy + Ord + Debug {
    const ZERO: Self;
    const MAX: Self;
    const WIDTH: u8;

    /// The next address; wraps at the highest.
    fn next(self) -> Self;
    /// The address before; wraps at 0.
    fn previous(self) -> Self;
    /// Only the first `length` bits.
    fn masked(self, length: u8) -> Self;
}

macro_rules! bits {
    ($int:ty) => {
        impl Bits for $int {
            const ZERO: Self = 0;
            const MAX: Self = <$int>::MAX;
            const WIDTH: u8 = <$int>::BITS as u8;

            #[inline]
            fn next(self) -> Self {
                self.wrapping_add(1)
            }

            #[inline]
            fn previous(self) -> Self {
                self.wrapping_sub(1)
            }

            #[inline]
            fn masked(self, length: u8) -> Self {
                let host = <$int>::MAX.checked_shr(u32::from(length)).unwrap_or(0);
                self & !host
            }
        }
    };
}
bits!(u32);
bits!(u128);

/// `Ipv4Net` or `Ipv6Net`. Host bits do not count.
pub trait Prefix: Copy + Display + Debug {
    type Bits: Bits;

    /// The lowest address.
    fn first(&self) -> Self::Bits;
    /// The highest address.
    fn last(&self) -> Self::Bits;
    fn length(&self) -> u8;
}

impl Prefix for Ipv4Net {
    type Bits = u32;

    #[inline]
    fn first(&self) -> u32 {
        self.addr().to_bits().masked(self.prefix_len())
    }

    #[inline]
    fn last(&self) -> u32 {
        let host = u32::MAX
            .checked_shr(u32::from(self.prefix_len()))
            .unwrap_or(0);
        self.addr().to_bits() | host
    }

    #[inline]
    fn length(&self) -> u8 {
        self.prefix_len()
    }
}

impl Prefix for Ipv6Net {
    type Bits = u128;

    #[inline]
    fn first(&self) -> u128 {
        self.addr().to_bits().masked(self.prefix_len())
    }

    #[inline]
    fn last(&self) -> u128 {
        let host = u128::MAX
            .checked_shr(u32::from(self.prefix_len()))
            .unwrap_or(0);
        self.addr().to_bits() | host
    }

    #[inline]
    fn length(&self) -> u8 {
        self.prefix_len()
    }
}
