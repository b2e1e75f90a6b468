"""The device catalogue of the demo: models one finds in a data centre, with round figures."""

from typing import NamedTuple


class Platform(NamedTuple):
    """Processors and the memory that goes with them."""

    cpu: str
    sockets: int
    cores: int
    ghz: float
    tdp: int
    memory_type: str
    memory_speed: int
    memory_gb: int
    dimms: int


class Device(NamedTuple):
    """One model; what it does not have is None (a switch has no drive bays)."""

    brand: str
    model: str
    kind: str
    height: int
    released: int
    psus: int
    psu_watts: int
    max_watts: int
    platform: Platform | None = None
    bays: tuple[int, str, int] | None = None
    """How many, form factor, capacity of all of them in TB."""
    ports: tuple[tuple[str, int, float], ...] = ()
    """Kind, how many, Gbit/s."""


_ENTRY = Platform("Intel Xeon E-2436", 1, 6, 2.9, 65, "DDR4", 3200, 128, 4)
_SKL = Platform("Intel Xeon Silver 4210", 2, 10, 2.2, 85, "DDR4", 2400, 1536, 24)
_CASCADE = Platform("Intel Xeon Gold 6248", 2, 20, 2.5, 150, "DDR4", 2933, 1536, 24)
_QUAD = Platform("Intel Xeon Platinum 8280L", 4, 28, 2.7, 205, "DDR4", 2933, 6144, 48)
_ICE = Platform("Intel Xeon Gold 6338", 2, 32, 2.0, 205, "DDR4", 3200, 4096, 32)
_SPR = Platform("Intel Xeon Platinum 8480+", 2, 56, 2.0, 350, "DDR5", 4800, 4096, 32)
_EMR = Platform("Intel Xeon Platinum 8592+", 2, 64, 1.9, 350, "DDR5", 5600, 8192, 32)
_MILAN1 = Platform("AMD EPYC 7443P", 1, 24, 2.85, 200, "DDR4", 3200, 2048, 16)
_MILAN = Platform("AMD EPYC 7763", 2, 64, 2.45, 280, "DDR4", 3200, 4096, 32)
_GENOA = Platform("AMD EPYC 9354", 2, 32, 3.25, 280, "DDR5", 4800, 3072, 24)
_GENOA96 = Platform("AMD EPYC 9654", 2, 96, 2.4, 360, "DDR5", 4800, 3072, 24)

_S8, _S10 = (8, '2.5"', 61), (10, '2.5"', 153)
_S24, _L12 = (24, '2.5"', 368), (12, '3.5"', 264)
_L4, _E16 = (4, '3.5"', 88), (16, "E1.S", 122)

_LOM = (("RJ45", 4, 1.0),)
_C25 = (("RJ45", 2, 1.0), ("SFP28", 2, 25.0))
_C100 = (("SFP28", 2, 25.0), ("QSFP56", 2, 100.0))
_IB = (("QSFP56", 2, 100.0), ("OSFP", 8, 400.0))
_TOR = (("SFP28", 48, 25.0), ("QSFP28", 8, 100.0))
_SPINE = (("QSFP28", 32, 100.0),)
_KVM = (("RJ45", 32, 1.0),)
_ACCESS = (("RJ45", 48, 1.0), ("SFP+", 4, 10.0))
_FC = (("SFP28", 4, 25.0), ("FC32", 4, 32.0))

_GPU = "GPU Server"
_SAN = "Storage"

DEVICES: tuple[Device, ...] = (
    Device("Dell", "PowerEdge R440", "Server", 1, 2017, 2, 550, 480, _SKL, _S10, _LOM),
    Device("Dell", "PowerEdge R540", "Server", 2, 2017, 2, 750, 620, _SKL, _L12, _LOM),
    Device("Dell", "PowerEdge R640", "Server", 1, 2017, 2, 750, 690, _CASCADE, _S10, _C25),
    Device("Dell", "PowerEdge R650", "Server", 1, 2021, 2, 1100, 860, _ICE, _S10, _C25),
    Device("Dell", "PowerEdge R660", "Server", 1, 2023, 2, 1400, 1150, _SPR, _S10, _C100),
    Device("Dell", "PowerEdge R740xd", "Server", 2, 2017, 2, 1100, 880, _CASCADE, _S24, _C25),
    Device("Dell", "PowerEdge R750", "Server", 2, 2021, 2, 1400, 1080, _ICE, _S24, _C25),
    Device("Dell", "PowerEdge R760", "Server", 2, 2023, 2, 1800, 1380, _SPR, _S24, _C100),
    Device("Dell", "PowerEdge R7625", "Server", 2, 2022, 2, 1800, 1420, _GENOA96, _S24, _C100),
    Device("Dell", "PowerEdge R840", "Server", 2, 2018, 2, 2000, 1650, _QUAD, _S24, _C25),
    Device("Dell", "PowerEdge R260", "Server", 1, 2024, 2, 450, 280, _ENTRY, _L4, _LOM),
    Device("Dell", "PowerEdge XE9680", _GPU, 6, 2023, 6, 2800, 9800, _SPR, _S10, _IB),
    Device("Dell", "PowerVault ME5024", _SAN, 2, 2022, 2, 580, 470, None, _S24, _FC),
    Device("Dell", "PowerStore 1200T", _SAN, 2, 2022, 2, 1450, 1100, None, _S24, _FC),
    Device("HPE", "ProLiant DL20 Gen10", "Server", 1, 2019, 2, 500, 260, _ENTRY, _L4, _LOM),
    Device("HPE", "ProLiant DL325 Gen10 Plus", "Server", 1, 2020, 2, 500, 430, _MILAN1, _S8, _C25),
    Device("HPE", "ProLiant DL360 Gen10", "Server", 1, 2017, 2, 800, 650, _CASCADE, _S8, _C25),
    Device("HPE", "ProLiant DL360 Gen11", "Server", 1, 2023, 2, 1000, 920, _SPR, _S10, _C100),
    Device("HPE", "ProLiant DL380 Gen10", "Server", 2, 2017, 2, 800, 720, _CASCADE, _S24, _C25),
    Device("HPE", "ProLiant DL380 Gen11", "Server", 2, 2023, 2, 1600, 1240, _EMR, _S24, _C100),
    Device("HPE", "ProLiant DL385 Gen11", "Server", 2, 2022, 2, 1600, 1310, _GENOA, _S24, _C100),
    Device("HPE", "ProLiant DL560 Gen10", "Server", 2, 2017, 4, 1600, 1700, _QUAD, _S24, _C25),
    Device("HPE", "Apollo 6500 Gen10 Plus", _GPU, 6, 2020, 6, 3000, 6500, _MILAN, _S8, _IB),
    Device("HPE", "MSA 2062", _SAN, 2, 2020, 2, 580, 450, None, _S24, _FC),
    Device("HPE", "Alletra 6070", _SAN, 4, 2021, 2, 1500, 1350, None, _S24, _FC),
    Device("Lenovo", "ThinkSystem SR250 V2", "Server", 1, 2021, 2, 450, 270, _ENTRY, _L4, _LOM),
    Device("Lenovo", "ThinkSystem SR630 V2", "Server", 1, 2021, 2, 1100, 840, _ICE, _S10, _C25),
    Device("Lenovo", "ThinkSystem SR630 V3", "Server", 1, 2023, 2, 1100, 990, _SPR, _S10, _C100),
    Device("Lenovo", "ThinkSystem SR650 V2", "Server", 2, 2021, 2, 1100, 960, _ICE, _S24, _C25),
    Device("Lenovo", "ThinkSystem SR650 V3", "Server", 2, 2023, 2, 1800, 1330, _SPR, _S24, _C100),
    Device("Lenovo", "ThinkSystem SR665 V3", "Server", 2, 2022, 2, 1800, 1390, _GENOA, _S24, _C100),
    Device("Lenovo", "ThinkSystem DE4000H", _SAN, 2, 2018, 2, 913, 530, None, _L12, _FC),
    Device("Supermicro", "SYS-120U-TNR", "Server", 1, 2021, 2, 1200, 870, _ICE, _S10, _C25),
    Device("Supermicro", "SYS-221H-TNR", "Server", 2, 2023, 2, 1200, 1100, _EMR, _E16, _C100),
    Device("Supermicro", "AS-2125HS-TNR", "Server", 2, 2022, 2, 1600, 1350, _GENOA96, _S24, _C100),
    Device("Supermicro", "SSG-6029P-E1CR12H", _SAN, 2, 2018, 2, 1200, 640, _SKL, _L12, _C25),
    Device("Supermicro", "SYS-821GE-TNHR", _GPU, 8, 2023, 6, 3000, 10200, _SPR, _E16, _IB),
    Device("NVIDIA", "DGX A100", _GPU, 6, 2020, 6, 3000, 6500, _MILAN, _S8, _IB),
    Device("NVIDIA", "DGX H100", _GPU, 8, 2022, 6, 3300, 10200, _SPR, _S8, _IB),
    Device("NVIDIA", "Spectrum SN3700", "Network", 1, 2019, 2, 1100, 620, ports=_SPINE),
    Device("Cisco", "UCS C220 M6", "Server", 1, 2021, 2, 1050, 850, _ICE, _S10, _C25),
    Device("Cisco", "UCS C240 M7", "Server", 2, 2023, 2, 1600, 1290, _SPR, _S24, _C100),
    Device("Cisco", "Nexus 93180YC-FX3", "Network", 1, 2020, 2, 650, 430, ports=_TOR),
    Device("Cisco", "Nexus 9336C-FX2", "Network", 1, 2018, 2, 1100, 680, ports=_SPINE),
    Device("Cisco", "Catalyst 9300-48T", "Network", 1, 2017, 2, 350, 230, ports=_ACCESS),
    Device("Juniper", "QFX5120-48Y", "Network", 1, 2018, 2, 650, 400, ports=_TOR),
    Device("Juniper", "EX4300-48T", "Network", 1, 2013, 2, 350, 180, ports=_ACCESS),
    Device("Arista", "7050SX3-48YC8", "Network", 1, 2018, 2, 500, 380, ports=_TOR),
    Device("Arista", "7060CX2-32S", "Network", 1, 2016, 2, 500, 420, ports=_SPINE),
    Device("NetApp", "AFF A250", _SAN, 2, 2020, 2, 1600, 780, None, _S24, _FC),
    Device("NetApp", "FAS2750", _SAN, 2, 2018, 2, 913, 640, None, _L12, _FC),
    Device("Pure Storage", "FlashArray//X50 R4", _SAN, 3, 2022, 2, 1200, 1000, None, _S10, _FC),
    Device("Pure Storage", "FlashBlade//S200", _SAN, 5, 2022, 4, 2400, 2300, None, _E16, _C100),
    Device("Fortinet", "FortiGate 600F", "Firewall", 1, 2022, 2, 250, 180, ports=_C25),
    Device("Fortinet", "FortiGate 1800F", "Firewall", 2, 2020, 2, 750, 410, ports=_C100),
    Device("Palo Alto Networks", "PA-5420", "Firewall", 2, 2021, 2, 1200, 530, ports=_C100),
    Device("Palo Alto Networks", "PA-3420", "Firewall", 1, 2022, 2, 450, 190, ports=_C25),
    Device("F5", "BIG-IP i5800", "Load Balancer", 1, 2016, 2, 650, 310, ports=_C25),
    Device("F5", "rSeries r5900", "Load Balancer", 1, 2022, 2, 650, 420, ports=_C100),
    Device("APC", "AP7921B", "PDU", 1, 2016, 1, 3680, 12),
    Device("APC", "AP8959EU3", "PDU", 2, 2013, 1, 7400, 15),
    Device("Raritan", "PX3-5190R", "PDU", 1, 2015, 1, 3680, 14),
    Device("Raritan", "Dominion KX III-432", "KVM", 1, 2014, 2, 110, 60, ports=_KVM),
)

CONTROLLERS = {
    "Dell": "iDRAC9",
    "HPE": "iLO 5",
    "Lenovo": "XClarity Controller",
    "Supermicro": "AST2600 BMC",
    "NVIDIA": "BMC",
    "Cisco": "CIMC",
}
