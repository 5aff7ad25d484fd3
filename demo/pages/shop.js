// The shop: a basket in sessionStorage, and what a shop tells its analytics. It works without the tracker.
(() => {
  "use strict";
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const euros = (cents) => new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" }).format(cents / 100);
  const main = find("main");
  const COUPONS = { WELCOME10: 10, AUTUMN15: 15 };
  const FREE_FROM = 7500, SHIPPING = 495, TAX = 21;

  const track = (name, properties) => {
    try {
      window.footfall?.track(name, properties);
    } catch {
      // A shop sells on, whatever becomes of its statistics.
    }
  };

  let kept = "{}";
  const read = () => {
    try {
      kept = sessionStorage.getItem("basket") ?? "{}";
    } catch {
      // Without storage the basket lives as long as the page.
    }
    try {
      return JSON.parse(kept);
    } catch {
      return {};
    }
  };
  const write = (basket) => {
    kept = JSON.stringify(basket);
    try {
      sessionStorage.setItem("basket", kept);
    } catch {
      // As above.
    }
    show();
  };
  const lines = () => Object.values(read());
  const value = () => lines().reduce((sum, line) => sum + line.cents * line.quantity, 0);
  const shipping = (cents) => (cents >= FREE_FROM || cents === 0 ? 0 : SHIPPING);
  const product = (line) => ({ product_id: line.id, name: line.name, category: line.category, price: line.cents / 100 });
  const products = () => lines().map((line) => ({ ...product(line), quantity: line.quantity }));

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
    made.append(...children);
    return made;
  };
  const picture = (line) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", `art ${line.tone}`);
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `/art.svg#${line.art}`);
    svg.append(use);
    return svg;
  };

  const change = (id, by) => {
    const basket = read(), line = basket[id];
    if (!line) return;
    line.quantity += by;
    if (line.quantity < 1) delete basket[id];
    if (by < 0) track("Product Removed", { ...product(line), quantity: -by });
    else track("Product Added", { ...product(line), quantity: by });
    write(basket);
  };
  const row = (line) => {
    const less = element("button", { type: "button", class: "less", "aria-label": `One ${line.name} less` }, "−");
    const more = element("button", { type: "button", class: "more", "aria-label": `One ${line.name} more` }, "+");
    const remove = element("button", { type: "button", class: "remove" }, "Remove");
    less.addEventListener("click", () => change(line.id, -1));
    more.addEventListener("click", () => change(line.id, 1));
    remove.addEventListener("click", () => change(line.id, -line.quantity));
    return element("li", {}, picture(line),
      element("div", {}, element("b", {}, element("a", { href: line.path }, line.name)),
        element("div", { class: "row" }, less, String(line.quantity), more, remove)),
      element("span", { class: "cost" }, euros(line.cents * line.quantity)));
  };

  const show = () => {
    const cents = value();
    find("#count").textContent = String(lines().reduce((sum, line) => sum + line.quantity, 0));
    if (find("#subtotal")) {
      find("#subtotal").textContent = euros(cents);
      find("#delivery").textContent = shipping(cents) ? euros(shipping(cents)) : "free";
      find("#total").textContent = euros(cents + shipping(cents));
    }
    if (find("#lines")) {
      find("#empty").hidden = cents > 0;
      find("#filled").hidden = cents === 0;
      find("#lines").replaceChildren(...lines().map(row));
      find("#free").textContent = shipping(cents) ? `${euros(FREE_FROM - cents)} more and delivery is free.` : "";
    }
    find("#brief")?.replaceChildren(...lines().map((line) => element("li", {}, `${line.quantity} × ${line.name}`)));
  };

  if (main.dataset.product) {
    const line = JSON.parse(main.dataset.product);
    track("Product Viewed", { ...product(line), currency: "EUR", interactive: false });
    find("#add").addEventListener("click", () => {
      const quantity = Number(find("#quantity").value), basket = read();
      basket[line.id] = { ...line, quantity: (basket[line.id]?.quantity ?? 0) + quantity };
      write(basket);
      find("#added").hidden = false;
      track("Product Added", { ...product(line), quantity, currency: "EUR" });
    });
  }
  if (main.dataset.query) track("Products Searched", { query: main.dataset.query });

  find("#checkout")?.addEventListener("click", () => {
    track("Checkout Started", { value: value() / 100, currency: "EUR", products: products() });
    location.assign("/checkout");
  });
  find("#order")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const all = value(), coupon = find("#coupon").value.trim().toUpperCase();
    const discount = Math.floor((all * (COUPONS[coupon] ?? 0)) / 100), revenue = all - discount;
    const tax = Math.floor((revenue * TAX) / 100);
    const id = `o-${[...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    if (revenue > 0) {
      track("Order Completed", {
        order_id: id, revenue: revenue / 100, tax: tax / 100, shipping: shipping(revenue) / 100,
        total: (revenue + tax + shipping(revenue)) / 100, discount: discount / 100, currency: "EUR",
        products: products(), ...(discount ? { coupon } : {}),
      });
      write({});
    }
    location.assign(`/checkout/thanks#${id}`);
  });
  if (find("#order-id")) find("#order-id").textContent = location.hash.slice(1);

  find("#login")?.addEventListener("submit", (event) => {
    event.preventDefault();
    // A shop knows its customers by a number; for the demo one is made from the address, which stays here.
    const text = new FormData(event.target).get("email").trim().toLowerCase();
    const number = [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 900000, 7);
    try {
      window.footfall?.identify(`u-${100000 + number}`);
    } catch {
      // As in track.
    }
    location.assign("/");
  });
  find("#newsletter").addEventListener("submit", (event) => {
    event.preventDefault();
    find("#newsletter output").hidden = false;
  });

  const cards = all("#results .card");
  const arrange = () => {
    const upto = Number(find('.filter[aria-pressed="true"]').dataset.upto) || Infinity, order = find("#sort").value;
    const sorted = order ? [...cards].sort((a, b) => (a.dataset.cents - b.dataset.cents) * (order === "up" ? 1 : -1)) : cards;
    for (const card of cards) card.hidden = Number(card.dataset.cents) > upto;
    find("#results").replaceChildren(...sorted);
    find(".none").hidden = cards.some((card) => !card.hidden);
  };
  for (const chip of all(".filter")) {
    chip.addEventListener("click", () => {
      for (const each of all(".filter")) each.setAttribute("aria-pressed", String(each === chip));
      arrange();
    });
  }
  find("#sort")?.addEventListener("change", arrange);

  window.addEventListener("pageshow", show);
  show();
})();
