// before the first paint; a browser that blocks storage for files throws here, and then the system's choice stands
try {
  const chosen = localStorage.getItem("footfall-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {}
