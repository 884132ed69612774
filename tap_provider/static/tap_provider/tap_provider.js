/* Small comforts; every page works without them, except passkeys, whose ceremony is django-otp-webauthn's own script. */

/* Times in the zone of whoever reads them, with the zone named. */
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) {
    time.textContent = at.toLocaleString(document.documentElement.lang || undefined, {
      day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
    });
  }
}

/* Copy buttons. */
for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

/* A passkey was registered: show the page anew, with the passkey in its list. */
document.addEventListener("otp_webauthn.register_complete", () => {
  const url = new URL(window.location.href);
  url.searchParams.set("registered", "passkey");
  url.hash = "";
  window.location.assign(url);
});
