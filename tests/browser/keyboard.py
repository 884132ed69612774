"""Somebody who has a keyboard and nothing else: where the focus is, what it is called there, and whether it shows."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page

MOST_STOPS = 60
PLACE = """() => {
  const one = document.activeElement
  if (!one || one === document.body || one === document.documentElement) return null
  const box = one.getBoundingClientRect(), style = getComputedStyle(one)
  const middle = [box.x + box.width / 2, box.y + box.height / 2]
  const there = document.elementFromPoint(...middle)
  const label = there?.closest("label")
  return {
    html: one.outerHTML.slice(0, 160),
    isSeen: box.width > 0 && box.height > 0 && style.visibility === "visible" && Number(style.opacity) > 0,
    isInView: middle[0] >= 0 && middle[0] <= innerWidth && middle[1] >= 0 && middle[1] <= innerHeight,
    isOnTop: one.contains(there) || there?.contains(one) || label?.control === one || false,
    isMarked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  }
}"""
# What a Tab is expected to reach, in the order of the page; of the radio buttons of a group only one is.
STOPS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(one =>
  !one.disabled && one.type !== "hidden" && one.checkVisibility({visibilityProperty: true}) &&
  (one.type !== "radio" || one.checked))"""
# A field that takes the focus when the page comes may do so a moment after it: keys pressed before are lost.
SETTLED = "() => !document.querySelector('[autofocus]') || document.activeElement !== document.body"
TAG = f"() => ({STOPS})().map((one, index) => (one.dataset.stop = index, one.outerHTML.slice(0, 90)))"


class Keyboard:
    """Tabs through a page and acts; each place that the focus comes by is looked at."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._session = page.context.new_cdp_session(page)

    def reach(self, name: str, *, back: bool = False) -> None:
        """Tab until what has this accessible name has the focus; fail if it never gets it."""
        passed = [self._name()]
        for _stop in range(MOST_STOPS):
            if passed[-1] and re.fullmatch(name, passed[-1]):
                self.look()
                return
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            self.look()
            passed.append(self._name())
        raise AssertionError(f"{name!r} never gets the focus at {self.page.url}; these do: {passed}")

    def follow(self, name: str, *, key: str = "Enter", back: bool = False) -> None:
        """Reach what leads to another page, press the key, and wait until that one is there."""
        self.reach(name, back=back)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)
        self.page.wait_for_function(SETTLED)

    def write(self, name: str, text: str) -> None:
        """Reach a field and replace what is in it."""
        self.reach(name)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def look(self) -> None:
        """See that what has the focus is visible, not covered, and marked as having it."""
        place = self.page.evaluate(PLACE)
        if place is not None:  # between the last and the first, the focus is the browser's
            lacking = [fact for fact in ("isSeen", "isInView", "isOnTop", "isMarked") if not place[fact]]
            assert lacking == [], f"{lacking} of {place['html']} at {self.page.url}"

    def walk(self, *, back: bool = False) -> None:
        """Tab through the whole page: every stop once, in the order of the page, and out at its end."""
        expected = self.page.evaluate(TAG)
        met = []
        for _stop in range(len(expected) + 1):  # once it is nowhere in the page: between the last and the first
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            self.look()
            met.append(self.page.evaluate("() => document.activeElement?.dataset?.stop ?? null"))
        numbers = [int(number) for number in met if number is not None][: len(expected)]
        order = sorted(numbers, reverse=back)
        first = numbers.index(order[0])  # a page may put the focus into a field, where the walk then begins
        assert numbers[first:] + numbers[:first] == order, f"out of order at {self.page.url}: {numbers}"
        passed_by = [html for number, html in enumerate(expected) if number not in numbers]
        assert passed_by == [], f"never focused at {self.page.url}: {passed_by}"

    def _name(self) -> str:
        focused: dict[str, Any] = self._session.send("Runtime.evaluate", {"expression": "document.activeElement"})
        node = {"objectId": focused["result"]["objectId"], "fetchRelatives": False}
        told: list[dict[str, Any]] = self._session.send("Accessibility.getPartialAXTree", node)["nodes"]
        return str(told[0].get("name", {}).get("value", "")) if told else ""
