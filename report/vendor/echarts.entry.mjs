// What the report draws with: three charts, axes, tooltips, one renderer. README.md says how to build it.
import { BarChart, LineChart, SankeyChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, LineChart, SankeyChart, GridComponent, TooltipComponent, SVGRenderer]);
globalThis.echarts = { init };
