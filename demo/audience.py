"""Who comes to the demo's shop, by which device, from where, and through which channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from demo.wire import Campaign, Location, Screen

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


@dataclass(frozen=True)
class Browser:
    """A kind of device: `device` is the name it is counted under."""

    device: str
    user_agent: str
    screen: Screen
    weight: float


BROWSERS = (
    Browser("desktop", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36",
            Screen(1920, 1080, 1903, 937), 22),
    Browser("desktop", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36 "
            "Edg/142.0.0.0", Screen(1536, 864, 1521, 730), 7),
    Browser("desktop", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_SAFARI} Version/26.1 "
            "Safari/605.1.15", Screen(1512, 982, 1512, 861), 9),
    Browser("desktop", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            Screen(1920, 1200, 1920, 1055), 4),
    Browser("mobile", f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) {_SAFARI} Version/26.1 "
            "Mobile/15E148 Safari/604.1", Screen(393, 852, 393, 659), 26),
    Browser("mobile", f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36",
            Screen(412, 915, 412, 785), 21),
    Browser("mobile", f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 "
            "Mobile Safari/537.36", Screen(384, 832, 384, 700), 6),
    Browser("tablet", f"Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) {_SAFARI} Version/26.1 Mobile/15E148 "
            "Safari/604.1", Screen(820, 1180, 820, 1096), 5),
)  # fmt: skip
DESKTOPS = tuple(browser for browser in BROWSERS if browser.device == "desktop")
MOBILES = tuple(browser for browser in BROWSERS if browser.device == "mobile")


@dataclass(frozen=True)
class Place:
    country: str
    locale: str
    timezone: str
    weight: float
    location: Location = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", Location(self.country))


PLACES = (
    Place("NL", "nl-NL", "Europe/Amsterdam", 46),
    Place("DE", "de-DE", "Europe/Berlin", 18),
    Place("BE", "nl-BE", "Europe/Brussels", 13),
    Place("FR", "fr-FR", "Europe/Paris", 8),
    Place("GB", "en-GB", "Europe/London", 7),
    Place("US", "en-US", "America/New_York", 5),
    Place("ES", "es-ES", "Europe/Madrid", 3),
)


@dataclass(frozen=True)
class Arrival:
    """A way to the shop: what the first page call carries, and the channel that it must be counted under.

    `lands` is where such visitors arrive: home, product, category, guide. `weights` are those of a
    first visit and of a later one.
    """

    channel: str
    lands: tuple[str, ...]
    weights: tuple[float, float]
    referrer: str | None = None
    campaign: Campaign | None = None
    query: str = ""


def _tagged(source: str, medium: str, name: str, content: str | None = None) -> tuple[Campaign, str]:
    query = f"utm_source={source}&utm_medium={medium}&utm_campaign={name}"
    return Campaign(source, medium, name, content), f"{query}&utm_content={content}" if content else query


def _arrival(
    channel: str,
    lands: str,
    weights: tuple[float, float],
    referrer: str | None = None,
    tags: tuple[str, str, str] | None = None,
    query: str = "",
) -> Arrival:
    campaign, tagged = _tagged(*tags) if tags else (None, "")
    whole_query = "&".join(part for part in (tagged, query) if part)
    return Arrival(channel, tuple(lands.split()), weights, referrer, campaign, whole_query)


GOOGLE = "https://www.google.com/"
FACEBOOK = "https://www.facebook.com/"
ARRIVALS = (
    _arrival("Direct", "home home home category", (15, 40)),
    _arrival("Organic Search", "product category guide home", (17, 9), GOOGLE),
    _arrival("Organic Search", "product category guide", (4, 2), "https://www.bing.com/"),
    _arrival("Organic Search", "product category home", (2, 2), "https://duckduckgo.com/"),
    # Auto-tagged ads carry a click id and no campaign tags.
    _arrival("Paid Search", "product category", (7, 3), GOOGLE, None, "gclid=EAIaIQobChMI"),
    _arrival("Paid Search", "home category", (4, 4), GOOGLE, ("google", "cpc", "brand")),
    _arrival("Paid Search", "product", (2, 1), "https://www.bing.com/", None, "msclkid=9f1c7e2a44b8"),
    _arrival("Organic Social", "product home", (6, 3), "https://www.instagram.com/"),
    _arrival("Organic Social", "guide product", (4, 2), FACEBOOK, None, "fbclid=IwAR0demo"),
    _arrival("Paid Social", "product category", (7, 3), FACEBOOK,
             ("facebook", "paid_social", "autumn-lookbook"), "fbclid=IwAR1demo"),
    _arrival("Paid Social", "product home", (5, 2), "https://www.instagram.com/",
             ("instagram", "paid_social", "desk-reels")),
    _arrival("Email", "category product home", (1, 13), None, ("newsletter", "email", "weekly-letter")),
    _arrival("Email", "product", (0, 6), None, ("crm", "email", "basket-reminder")),
    _arrival("AI Assistant", "product guide", (4, 2), "https://chatgpt.com/"),
    _arrival("AI Assistant", "guide category", (2, 1), "https://www.perplexity.ai/"),
    _arrival("Referral", "guide product", (5, 2), "https://designmag.example/small-rooms"),
    _arrival("Display", "home", (3, 1), "https://news.example/",
             ("adnet", "display", "autumn-lookbook")),
    _arrival("Affiliates", "product", (3, 1), "https://dealhunter.example/",
             ("dealhunter", "affiliate", "partners")),
)  # fmt: skip
# Cumulated, as random.choices takes them fastest.
BROWSER_WEIGHTS = tuple(accumulate(browser.weight for browser in BROWSERS))
PLACE_WEIGHTS = tuple(accumulate(place.weight for place in PLACES))
FIRST_WEIGHTS = tuple(accumulate(arrival.weights[0] for arrival in ARRIVALS))
LATER_WEIGHTS = tuple(accumulate(arrival.weights[1] for arrival in ARRIVALS))
DIRECT = ARRIVALS[0]

CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
)
